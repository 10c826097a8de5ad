package storage

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// call is a request whose route is known.
type call struct {
	*http.Request
	route  *route
	params url.Values

	bucket, object     string
	toBucket, toObject string
}

// route is one method of the API. Words in braces are a path's variables; a
// path's last variable with dots takes what is left, slashes and all.
type route struct {
	method, path string
	params       string // the query parameters it takes, beyond commonParams
	handle       func(*Server, *call) (*reply, error)
	xml          bool
}

const (
	// commonParams go with every method. fields asks for less than a resource;
	// here it is answered with the whole one, which has all that was asked for.
	commonParams = "alt fields key prettyPrint projection quotaUser userIp userProject access_token"
	objectConds  = "ifGenerationMatch ifGenerationNotMatch ifMetagenerationMatch ifMetagenerationNotMatch"
	sourceConds  = "ifSourceGenerationMatch ifSourceGenerationNotMatch ifSourceMetagenerationMatch ifSourceMetagenerationNotMatch"
	bucketConds  = "ifMetagenerationMatch ifMetagenerationNotMatch"
	copyParams   = "sourceGeneration destinationKmsKeyName destinationPredefinedAcl " + objectConds + " " + sourceConds
)

// routes are tried in this order.
var routes = []route{
	{"GET", "/storage/v1/b", "project prefix maxResults pageToken returnPartialSuccess", (*Server).listBuckets, false},
	{"POST", "/storage/v1/b", "project predefinedAcl predefinedDefaultObjectAcl enableObjectRetention", (*Server).insertBucket, false},
	{"GET", "/storage/v1/b/{bucket}", bucketConds, (*Server).getBucket, false},
	{"PATCH", "/storage/v1/b/{bucket}", "predefinedAcl predefinedDefaultObjectAcl " + bucketConds, (*Server).patchBucket, false},
	{"PUT", "/storage/v1/b/{bucket}", "predefinedAcl predefinedDefaultObjectAcl " + bucketConds, (*Server).updateBucket, false},
	{"DELETE", "/storage/v1/b/{bucket}", bucketConds, (*Server).deleteBucket, false},

	{"GET", "/storage/v1/b/{bucket}/iam", "optionsRequestedPolicyVersion", (*Server).getPolicy, false},
	{"PUT", "/storage/v1/b/{bucket}/iam", "", (*Server).setPolicy, false},
	{"GET", "/storage/v1/b/{bucket}/iam/testPermissions", "permissions", (*Server).testPermissions, false},

	{"GET", "/storage/v1/b/{bucket}/o", "prefix delimiter startOffset endOffset pageToken maxResults versions includeTrailingDelimiter " +
		"matchGlob includeFoldersAsPrefixes softDeleted filter", (*Server).listObjects, false},
	{"GET", "/storage/v1/b/{bucket}/o/{object}", "generation softDeleted " + objectConds, (*Server).getObject, false},
	{"HEAD", "/storage/v1/b/{bucket}/o/{object}", "generation " + objectConds, (*Server).getObject, false},
	{"PATCH", "/storage/v1/b/{bucket}/o/{object}", "generation predefinedAcl overrideUnlockedRetention " + objectConds, (*Server).patchObject, false},
	{"PUT", "/storage/v1/b/{bucket}/o/{object}", "generation predefinedAcl overrideUnlockedRetention " + objectConds, (*Server).updateObject, false},
	{"DELETE", "/storage/v1/b/{bucket}/o/{object}", "generation " + objectConds, (*Server).deleteObject, false},
	{"POST", "/storage/v1/b/{bucket}/o/{object}/compose", "destinationPredefinedAcl kmsKeyName " + objectConds, (*Server).composeObject, false},
	{"POST", "/storage/v1/b/{bucket}/o/{object}/rewriteTo/b/{toBucket}/o/{toObject}", "rewriteToken maxBytesRewrittenPerCall " + copyParams, (*Server).rewriteObject, false},
	{"POST", "/storage/v1/b/{bucket}/o/{object}/copyTo/b/{toBucket}/o/{toObject}", copyParams, (*Server).copyObject, false},

	{"POST", "/upload/storage/v1/b/{bucket}/o", "uploadType upload_id name contentEncoding predefinedAcl kmsKeyName " + objectConds, (*Server).insertObject, false},
	{"PUT", "/upload/storage/v1/b/{bucket}/o", "uploadType upload_id name", (*Server).continueUpload, false},
	{"DELETE", "/upload/storage/v1/b/{bucket}/o", "uploadType upload_id name", (*Server).cancelUpload, false},

	{"GET", "/download/storage/v1/b/{bucket}/o/{object}", "generation " + objectConds, (*Server).downloadObject, false},

	{"GET", "/{bucket}/{object...}", "generation", (*Server).downloadObject, true},
	{"HEAD", "/{bucket}/{object...}", "generation", (*Server).downloadObject, true},
}

// neutralOnly are parameters that the Go client always sends, or that ask for
// something this server does not have: only a value that asks for nothing is taken.
var neutralOnly = strings.Fields("matchGlob includeFoldersAsPrefixes softDeleted filter predefinedAcl predefinedDefaultObjectAcl " +
	"destinationPredefinedAcl kmsKeyName destinationKmsKeyName enableObjectRetention overrideUnlockedRetention")

// match finds the route of r. A returned call goes with an error whose form
// depends on the route.
func match(r *http.Request) (*call, error) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i := range routes {
		rt := &routes[i]
		if rt.method != r.Method {
			continue
		}
		if rt.xml && slices.Contains(reservedNames, segments[0]) {
			continue
		}
		c := &call{Request: r, route: rt}
		ok, err := c.take(segments)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		return c, c.readParams()
	}
	return nil, notImplemented("%s %s", r.Method, r.URL.Path)
}

// take reads the variables of c.route from the path, if it is this route's.
func (c *call) take(segments []string) (bool, error) {
	words := strings.Split(strings.TrimPrefix(c.route.path, "/"), "/")
	if last := words[len(words)-1]; strings.HasSuffix(last, "...}") {
		if len(segments) < len(words) {
			return false, nil
		}
		rest := strings.Join(segments[len(words)-1:], "/")
		segments = append(slices.Clone(segments[:len(words)-1]), rest)
	}
	if len(segments) != len(words) {
		return false, nil
	}
	for i, word := range words {
		if !strings.HasPrefix(word, "{") {
			if word != segments[i] {
				return false, nil
			}
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return false, badRequest("invalid", "the path cannot be read: %v", err)
		}
		if value == "" {
			return false, nil
		}
		switch strings.Trim(word, "{.}") {
		case "bucket":
			c.bucket = value
		case "object":
			c.object = value
		case "toBucket":
			c.toBucket = value
		case "toObject":
			c.toObject = value
		}
	}
	return true, nil
}

// readParams refuses whatever the route does not know how to honour.
func (c *call) readParams() error {
	params, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return badRequest("invalidParameter", "the query cannot be read: %v", err)
	}
	c.params = params
	known := strings.Fields(c.route.params)
	if !c.route.xml {
		known = append(known, strings.Fields(commonParams)...)
	}
	for name, values := range params {
		if !slices.Contains(known, name) {
			return badRequest("invalidParameter", "unknown query parameter %q for %s %s", name, c.Method, c.route.path)
		}
		if len(values) > 1 && name != "permissions" {
			return badRequest("invalidParameter", "query parameter %q is given %d times", name, len(values))
		}
		if slices.Contains(neutralOnly, name) && values[0] != "" && values[0] != "false" {
			return notImplemented("query parameter %s=%s", name, values[0])
		}
	}
	if v := params.Get("projection"); v != "" && v != "full" && v != "noAcl" {
		return badRequest("invalidParameter", "projection is %q, not full or noAcl", v)
	}
	if v := params.Get("alt"); v != "" && v != "json" && (v != "media" || !strings.HasSuffix(c.route.path, "/o/{object}") || c.Method != "GET" && c.Method != "HEAD") {
		return badRequest("invalidParameter", "alt=%s is not possible for %s %s", v, c.Method, c.route.path)
	}
	for name := range c.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-goog-encryption-") || strings.HasPrefix(lower, "x-goog-copy-source-encryption-") {
			return notImplemented("customer-supplied encryption (header %s)", name)
		}
	}
	return nil
}

// flag reads a boolean parameter.
func (c *call) flag(name string) (bool, error) {
	switch v := c.params.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("invalidParameter", "%s is %q, not true or false", name, v)
	}
}
