package secrets

import (
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits that Google documents.
const (
	maxPayload     = 64 << 10
	maxAliases     = 50
	maxLabels      = 64
	maxTopics      = 10
	maxAnnotations = 16 << 10
	minDestroyTTL  = 24 * time.Hour
	maxDestroyTTL  = 1000 * 24 * time.Hour
)

var (
	parentForm    = regexp.MustCompile(`^projects/([^/]+)(?:/locations/([^/]+))?$`)
	secretForm    = regexp.MustCompile(`^(projects/[^/]+(?:/locations/[^/]+)?)/secrets/([A-Za-z0-9_-]{1,255})$`)
	versionForm   = regexp.MustCompile(`^(.+)/versions/([^/]+)$`)
	secretID      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	numberForm    = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
	aliasForm     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
	labelKey      = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)
	labelValue    = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)
	annotationKey = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	topicForm     = regexp.MustCompile(`^projects/[^/]+/topics/[^/]+$`)
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "the local cloud does not implement %s", what)
}

// parentName is a project, or a location of one.
type parentName struct{ project, location string }

func (p parentName) String() string {
	if p.location == "" {
		return "projects/" + p.project
	}
	return "projects/" + p.project + "/locations/" + p.location
}

// secretName is a secret's name in the form in which it is stored.
type secretName struct {
	parent parentName
	id     string
}

func (n secretName) String() string { return n.parent.String() + "/secrets/" + n.id }

func (s *Server) parseParent(text string) (parentName, error) {
	m := parentForm.FindStringSubmatch(text)
	if m == nil {
		return parentName{}, invalid("Invalid resource name [%s]: it has the form projects/*, or projects/*/locations/*.", text)
	}
	if number, ok := s.numbers[m[1]]; ok {
		m[1] = number
	}
	return parentName{m[1], m[2]}, nil
}

func (s *Server) parseSecret(text string) (secretName, error) {
	m := secretForm.FindStringSubmatch(text)
	if m == nil {
		return secretName{}, invalid("Invalid resource name [%s]: it has the form projects/*/secrets/*.", text)
	}
	parent, err := s.parseParent(m[1])
	return secretName{parent, m[2]}, err
}

// parseVersion splits a version's name. What is behind the last slash may be a
// number, latest, or an alias.
func (s *Server) parseVersion(text string) (name secretName, version string, err error) {
	m := versionForm.FindStringSubmatch(text)
	if m == nil {
		return name, "", invalid("Invalid resource name [%s]: it has the form projects/*/secrets/*/versions/*.", text)
	}
	name, err = s.parseSecret(m[1])
	if err == nil && m[2] != "latest" && !numberForm.MatchString(m[2]) && !aliasForm.MatchString(m[2]) {
		err = invalid("Invalid version [%s]: it is a number, latest or an alias.", m[2])
	}
	return name, m[2], err
}

// checkSecret holds the settings of a secret against what Google takes.
func checkSecret(secret *pb.Secret, now time.Time) error {
	if len(secret.Labels) > maxLabels {
		return invalid("%d labels, more than %d.", len(secret.Labels), maxLabels)
	}
	for key, value := range secret.Labels {
		if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			return invalid("Invalid label %s=%s.", key, value)
		}
	}
	size := 0
	for key, value := range secret.Annotations {
		if size += len(key) + len(value); !annotationKey.MatchString(key) {
			return invalid("Invalid annotation key %s.", key)
		}
	}
	if size >= maxAnnotations {
		return invalid("The annotations have %d bytes; they must have less than %d.", size, maxAnnotations)
	}
	if len(secret.Topics) > maxTopics {
		return invalid("%d topics, more than %d.", len(secret.Topics), maxTopics)
	}
	for _, topic := range secret.Topics {
		if !topicForm.MatchString(topic.GetName()) {
			return invalid("Invalid topic [%s]: it has the form projects/*/topics/*.", topic.GetName())
		}
	}
	if isPast(secret.GetExpireTime(), now) {
		return invalid("The secret would have expired already.")
	}
	if ttl := secret.VersionDestroyTtl; ttl != nil && (ttl.AsDuration() < minDestroyTTL || ttl.AsDuration() > maxDestroyTTL) {
		return invalid("version_destroy_ttl is %s; it is between %s and %s.", ttl.AsDuration(), minDestroyTTL, maxDestroyTTL)
	}
	if err := checkAliases(secret.VersionAliases); err != nil {
		return err
	}
	return checkRotation(secret)
}

func checkAliases(aliases map[string]int64) error {
	if len(aliases) > maxAliases {
		return invalid("%d version aliases, more than %d.", len(aliases), maxAliases)
	}
	for alias, version := range aliases {
		if !aliasForm.MatchString(alias) || alias == "latest" || alias == "NEW" {
			return invalid("Invalid version alias [%s].", alias)
		}
		if version < 1 {
			return invalid("Version alias [%s] names version %d.", alias, version)
		}
	}
	return nil
}

func checkRotation(secret *pb.Secret) error {
	rotation := secret.Rotation
	if rotation == nil {
		return nil
	}
	period := rotation.GetRotationPeriod()
	switch {
	case len(secret.Topics) == 0:
		return invalid("A rotation needs a topic.")
	case period != nil && rotation.NextRotationTime == nil:
		return invalid("rotation_period needs next_rotation_time.")
	case period != nil && (period.AsDuration() < time.Hour || period.GetSeconds() > 3153600000):
		return invalid("rotation_period is %s; it is between 1 hour and 100 years.", period.AsDuration())
	}
	return nil
}

// checkNewSecret refuses what cannot be created, or not here.
func checkNewSecret(id string, parent parentName, secret *pb.Secret) error {
	switch {
	case secret == nil:
		return invalid("The secret is missing.")
	case !secretID.MatchString(id):
		return invalid("Invalid secret id [%s]: up to 255 letters, digits, dashes and underscores.", id)
	case secret.SecretType != 0:
		return unimplemented("typed secrets")
	case secret.CustomerManagedEncryption != nil:
		return unimplemented("customer-managed encryption")
	case parent.location != "" && secret.Replication != nil:
		return invalid("A regional secret has no replication.")
	case parent.location != "":
		return nil
	}
	return checkReplication(secret.Replication)
}

func checkReplication(replication *pb.Replication) error {
	switch r := replication.GetReplication().(type) {
	case *pb.Replication_Automatic_:
		if r.Automatic.GetCustomerManagedEncryption() != nil {
			return unimplemented("customer-managed encryption")
		}
		return nil
	case *pb.Replication_UserManaged_:
		var seen []string
		for _, replica := range r.UserManaged.GetReplicas() {
			if replica.GetCustomerManagedEncryption() != nil {
				return unimplemented("customer-managed encryption")
			}
			if replica.GetLocation() == "" || slices.Contains(seen, replica.GetLocation()) {
				return invalid("Replica location [%s] is empty or given twice.", replica.GetLocation())
			}
			seen = append(seen, replica.GetLocation())
		}
		if len(seen) == 0 {
			return invalid("User-managed replication needs a location.")
		}
		return nil
	default:
		return invalid("The secret's replication is missing: automatic or user_managed.")
	}
}

// replicationStatus is where a version of secret lies.
func replicationStatus(secret *pb.Secret) *pb.ReplicationStatus {
	switch r := secret.GetReplication().GetReplication().(type) {
	case *pb.Replication_Automatic_:
		return &pb.ReplicationStatus{ReplicationStatus: &pb.ReplicationStatus_Automatic{Automatic: &pb.ReplicationStatus_AutomaticStatus{}}}
	case *pb.Replication_UserManaged_:
		all := &pb.ReplicationStatus_UserManagedStatus{}
		for _, replica := range r.UserManaged.GetReplicas() {
			all.Replicas = append(all.Replicas, &pb.ReplicationStatus_UserManagedStatus_ReplicaStatus{Location: replica.GetLocation()})
		}
		return &pb.ReplicationStatus{ReplicationStatus: &pb.ReplicationStatus_UserManaged{UserManaged: all}}
	default:
		return nil // a regional secret has none
	}
}

// checkPayload refuses a payload without a word about what is in it.
func checkPayload(payload *pb.SecretPayload) error {
	data := payload.GetData()
	switch {
	case len(data) == 0:
		return invalid("The secret payload is missing or empty.")
	case len(data) > maxPayload:
		return invalid("The secret payload has %d bytes, more than %d.", len(data), maxPayload)
	case payload.DataCrc32C != nil && payload.GetDataCrc32C() != checksum(data):
		return invalid("The payload's checksum does not match data_crc32c: it was damaged on its way.")
	}
	return nil
}

// checksum is CRC32C as Secret Manager writes it.
func checksum(data []byte) int64 {
	return int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// pageSize is how many results a page has.
func pageSize(asked int32) (int, error) {
	switch {
	case asked < 0:
		return 0, invalid("page_size is %d.", asked)
	case asked == 0:
		return 100, nil
	default:
		return min(int(asked), 25000), nil
	}
}

// stateFilter reads the one filter over versions that this server knows:
// state:ENABLED and its like. 0 is every state.
func stateFilter(filter string) (pb.SecretVersion_State, error) {
	if filter == "" {
		return 0, nil
	}
	name, ok := strings.CutPrefix(filter, "state:")
	if !ok {
		name, ok = strings.CutPrefix(filter, "state=")
	}
	value, known := pb.SecretVersion_State_value[strings.ToUpper(name)]
	if !ok || !known || value == 0 {
		return 0, unimplemented("filter " + strconv.Quote(filter) + " over versions; it knows state:ENABLED, state:DISABLED and state:DESTROYED")
	}
	return pb.SecretVersion_State(value), nil
}

// nameFilter reads the one filter over secrets that this server knows.
func nameFilter(filter string) (func(*pb.Secret) bool, error) {
	if filter == "" {
		return func(*pb.Secret) bool { return true }, nil
	}
	part, ok := strings.CutPrefix(filter, "name:")
	if !ok || strings.ContainsAny(part, " ()") {
		return nil, unimplemented("filter " + strconv.Quote(filter) + " over secrets; it knows name:PART")
	}
	return func(secret *pb.Secret) bool { return strings.Contains(secret.Name, part) }, nil
}
