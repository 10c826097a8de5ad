package run

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	locationName = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+$`)
	serviceName  = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/services/[a-z0-9-]+$`)
	revisionName = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/services/[a-z0-9-]+/revisions/[a-z0-9-]+$`)
	anyService   = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/services/(-|[a-z0-9-]+)$`)
)

func checkName(form *regexp.Regexp, field, name, example string) error {
	if !form.MatchString(name) {
		return status.Errorf(codes.InvalidArgument, "%s: %q is not of the form %s", field, name, example)
	}
	return nil
}

// last returns what follows the last slash: a resource's own id.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// parent returns the name two segments up.
func parent(name string) string {
	s := strings.Split(name, "/")
	return strings.Join(s[:len(s)-2], "/")
}

// ProjectNumber is the number that a project of this id has here. Google's are
// given out; ours follows from the id, so that nothing needs to be kept.
func ProjectNumber(project string) string {
	if _, err := strconv.ParseUint(project, 10, 64); err == nil {
		return project
	}
	sum := sha256.Sum256([]byte(project))
	n := new(big.Int).SetBytes(sum[:])
	return strconv.FormatInt(100_000_000_000+n.Mod(n, big.NewInt(899_999_999_999)).Int64(), 10)
}

// generatedRevision is the name of a revision whose template names none.
func generatedRevision(service string, generation int64) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b [3]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return fmt.Sprintf("%s-%05d-%s", service, generation, b[:])
}

// etag follows from what is wanted alone, so it stays the same while a service
// settles and changes with every accepted change.
func etag(uid string, generation int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", uid, generation))
	return strconv.Quote(hex.EncodeToString(sum[:12]))
}

// hosts are the names under which Google would serve a service or one of its
// tags, with an ending that no one else can own.
func hosts(project, location, service, tag string) []string {
	sum := sha256.Sum256([]byte(project + "/" + location + "/" + service))
	host := service + "-" + hex.EncodeToString(sum[:5]) + "-" + location + ".a.run.app.local"
	if tag != "" {
		host = tag + "---" + host
	}
	return []string{host}
}
