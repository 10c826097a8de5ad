package storage

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// maxJSON is how large a request without media may be.
const maxJSON = 4 << 20

// readJSON reads a resource; no body at all is an empty one.
func readJSON(from io.Reader) (map[string]any, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxJSON+1))
	if err != nil {
		return nil, badRequest("invalid", "the request's body ended too early")
	}
	if len(text) > maxJSON {
		return nil, refuse(http.StatusRequestEntityTooLarge, "uploadTooLarge", "a resource of more than %d bytes", maxJSON)
	}
	sent := map[string]any{}
	if len(strings.TrimSpace(string(text))) == 0 {
		return sent, nil
	}
	if !json.Valid(text) {
		return nil, badRequest("parseError", "the request's body is not JSON")
	}
	if err := decode(text, &sent); err != nil {
		return nil, badRequest("parseError", "the request's body is not a JSON object")
	}
	if sent == nil {
		return map[string]any{}, nil // null
	}
	return sent, nil
}

// page reads maxResults and pageToken, which is what token wrote.
func (c *call) page() (limit int, after string, err error) {
	limit = 1000
	if v := c.params.Get("maxResults"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return 0, "", badRequest("invalidParameter", "maxResults is %q, not a number of results", v)
		}
		if n > 0 {
			limit = min(n, limit)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.params.Get("pageToken"))
	if err != nil {
		return 0, "", badRequest("invalidParameter", "pageToken %q is none of ours", c.params.Get("pageToken"))
	}
	return limit, string(raw), nil
}

func token(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

func (c *call) project() (string, error) {
	p := strings.TrimPrefix(c.params.Get("project"), "projects/")
	if p == "" {
		return "", badRequest("required", "required parameter: project")
	}
	return p, nil
}

func (s *Server) insertBucket(c *call) (*reply, error) {
	project, err := c.project()
	if err != nil {
		return nil, err
	}
	sent, err := readJSON(c.Body)
	if err != nil {
		return nil, err
	}
	name, ok := sent["name"].(string)
	if !ok {
		return nil, badRequest("required", "required field: name")
	}
	fields, err := settable(sent, bucketFields)
	if err != nil {
		return nil, err
	}
	var b *bucketRecord
	err = s.update(nil, func(tx *txn) error {
		b, err = tx.insertBucket(name, project, merge(nil, withUniformAccess(fields)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.bucketResource(c.Request, b)}, nil
}

func (tx *txn) insertBucket(name, project string, fields map[string]any) (*bucketRecord, error) {
	if err := checkBucketName(name); err != nil {
		return nil, err
	}
	if tx.Get(bucketKind, name) != nil {
		return nil, refuse(http.StatusConflict, "conflict", "bucket %s exists already; names are global", name)
	}
	b := &bucketRecord{Name: name, Project: project, Metageneration: 1, Created: tx.now, Updated: tx.now}
	b.Fields = bucketDefaults(fields, tx.now)
	if err := checkBucket(b.Fields, nil); err != nil {
		return nil, err
	}
	return b, tx.putBucket(b)
}

// withUniformAccess reads the setting's former name as the setting.
func withUniformAccess(fields map[string]any) map[string]any {
	former := setting[map[string]any](fields, "iamConfiguration", "bucketPolicyOnly")
	if former == nil {
		return fields
	}
	access := merge(map[string]any{"uniformBucketLevelAccess": former}, setting[map[string]any](fields, "iamConfiguration"))
	delete(access, "bucketPolicyOnly")
	fields["iamConfiguration"] = access
	return fields
}

func (s *Server) bucketResource(r *http.Request, b *bucketRecord) map[string]any {
	res := merge(b.Fields, nil)
	if access := setting[map[string]any](b.Fields, "iamConfiguration"); access != nil {
		res["iamConfiguration"] = merge(access, map[string]any{"bucketPolicyOnly": access["uniformBucketLevelAccess"]})
	}
	res["kind"] = "storage#bucket"
	res["id"] = b.Name
	res["name"] = b.Name
	res["selfLink"] = "http://" + r.Host + "/storage/v1/b/" + b.Name
	res["metageneration"] = strconv.FormatInt(b.Metageneration, 10)
	res["etag"] = b.etag()
	res["timeCreated"] = stamp(b.Created)
	res["updated"] = stamp(b.Updated)
	res["locationType"] = locationType(setting[string](b.Fields, "location"))
	if s.number != nil {
		res["projectNumber"] = strconv.FormatUint(s.number(b.Project), 10)
	}
	return res
}

// readBucket finds the bucket of c and judges the request's conditions.
func (tx *txn) readBucket(c *call) (*bucketRecord, error) {
	conds, err := c.readConditions()
	if err != nil {
		return nil, err
	}
	b, err := tx.bucket(c.bucket)
	if err != nil {
		return nil, err
	}
	return b, conds.checkBucket(b)
}

func (s *Server) getBucket(c *call) (*reply, error) {
	var b *bucketRecord
	err := s.view(func(tx *txn) (err error) {
		b, err = tx.readBucket(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.bucketResource(c.Request, b)}, nil
}

func (s *Server) patchBucket(c *call) (*reply, error) {
	return s.changeBucket(c, merge)
}

func (s *Server) updateBucket(c *call) (*reply, error) {
	return s.changeBucket(c, func(_, sent map[string]any) map[string]any { return merge(nil, sent) })
}

func (s *Server) changeBucket(c *call, change func(old, sent map[string]any) map[string]any) (*reply, error) {
	sent, err := readJSON(c.Body)
	if err != nil {
		return nil, err
	}
	if name, ok := sent["name"]; ok && name != c.bucket {
		return nil, badRequest("invalid", "a bucket's name cannot be changed")
	}
	fields, err := settable(sent, bucketFields)
	if err != nil {
		return nil, err
	}
	var b *bucketRecord
	err = s.update(nil, func(tx *txn) error {
		if b, err = tx.readBucket(c); err != nil {
			return err
		}
		old := b.Fields
		b.Fields = bucketDefaults(change(old, withUniformAccess(fields)), tx.now)
		if err := checkBucket(b.Fields, old); err != nil {
			return err
		}
		b.Metageneration++
		b.Updated = tx.now
		return tx.putBucket(b)
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.bucketResource(c.Request, b)}, nil
}

func (s *Server) deleteBucket(c *call) (*reply, error) {
	var abandoned []string
	err := s.update(nil, func(tx *txn) error {
		b, err := tx.readBucket(c)
		if err != nil {
			return err
		}
		err = tx.Scan(objectKind, b.Name+"\x00", func(string, []byte) error {
			return refuse(http.StatusConflict, "conflict", "bucket %s is not empty", b.Name)
		})
		if err != nil {
			return err
		}
		if abandoned, err = tx.dropUploads(func(u *upload) bool { return u.Object.Bucket == b.Name }); err != nil {
			return err
		}
		return tx.Delete(bucketKind, b.Name)
	})
	if err != nil {
		return nil, err
	}
	s.blobs.removeParts(abandoned)
	return &reply{}, nil
}

func (s *Server) listBuckets(c *call) (*reply, error) {
	project, err := c.project()
	if err != nil {
		return nil, err
	}
	limit, after, err := c.page()
	if err != nil {
		return nil, err
	}
	prefix := c.params.Get("prefix")
	items, next := []any{}, ""
	err = s.view(func(tx *txn) error {
		last := ""
		return tx.ScanFrom(bucketKind, prefix, after, func(_ string, text []byte) error {
			b := &bucketRecord{}
			if err := decode(text, b); err != nil {
				return err
			}
			if b.Project != project || b.Name == after {
				return nil
			}
			if len(items) == limit {
				next = token(last)
				return state.ErrStop
			}
			last = b.Name
			items = append(items, s.bucketResource(c.Request, b))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	res := map[string]any{"kind": "storage#buckets", "items": items}
	if next != "" {
		res["nextPageToken"] = next
	}
	return &reply{body: res}, nil
}

// policyResource is the policy of b; a new bucket's is the one that Google gives.
func policyResource(b *bucketRecord) map[string]any {
	policy := b.Policy
	if policy == nil {
		policy = map[string]any{"version": json.Number("1"), "bindings": []any{
			map[string]any{"role": "roles/storage.legacyBucketOwner", "members": []any{"projectEditor:" + b.Project, "projectOwner:" + b.Project}},
			map[string]any{"role": "roles/storage.legacyBucketReader", "members": []any{"projectViewer:" + b.Project}},
		}}
	}
	return merge(policy, map[string]any{
		"kind": "storage#policy", "resourceId": "projects/_/buckets/" + b.Name, "etag": etag(b.PolicyChanges+1, 0),
	})
}

func (s *Server) getPolicy(c *call) (*reply, error) {
	var b *bucketRecord
	err := s.view(func(tx *txn) (err error) {
		b, err = tx.bucket(c.bucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: policyResource(b)}, nil
}

func (s *Server) setPolicy(c *call) (*reply, error) {
	sent, err := readJSON(c.Body)
	if err != nil {
		return nil, err
	}
	policy, err := checkPolicy(sent)
	if err != nil {
		return nil, err
	}
	var b *bucketRecord
	err = s.update(nil, func(tx *txn) error {
		if b, err = tx.bucket(c.bucket); err != nil {
			return err
		}
		if tag, _ := sent["etag"].(string); tag != "" && tag != policyResource(b)["etag"] {
			return conditionNotMet("the policy was changed since it was read")
		}
		b.Policy = policy
		b.PolicyChanges++
		return tx.putBucket(b)
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: policyResource(b)}, nil
}

func checkPolicy(sent map[string]any) (map[string]any, error) {
	policy := map[string]any{"version": json.Number("1")}
	for name, value := range sent {
		switch name {
		case "kind", "resourceId", "etag":
		case "version":
			n, ok := integer(value)
			if !ok || n != 0 && n != 1 && n != 3 {
				return nil, badRequest("invalid", "policy version %v is not 1 or 3", value)
			}
			policy[name] = json.Number(strconv.FormatInt(max(n, 1), 10))
		case "bindings":
			bindings, ok := value.([]any)
			if !ok && value != nil {
				return nil, badRequest("invalid", "the policy's bindings are no list")
			}
			for _, b := range bindings {
				binding, _ := b.(map[string]any)
				role, _ := binding["role"].(string)
				members, ok := binding["members"].([]any)
				if role == "" || !ok || slices.ContainsFunc(members, func(m any) bool { text, _ := m.(string); return text == "" }) {
					return nil, badRequest("invalid", "a binding of the policy has no role, or no list of members")
				}
			}
			policy[name] = bindings
		default:
			return nil, badRequest("invalid", "unknown field %q of a policy", name)
		}
	}
	return policy, nil
}

// testPermissions grants everything: whoever reaches a local cloud owns it.
func (s *Server) testPermissions(c *call) (*reply, error) {
	asked := c.params["permissions"]
	if len(asked) == 0 {
		return nil, badRequest("required", "required parameter: permissions")
	}
	for _, p := range asked {
		if !strings.HasPrefix(p, "storage.") {
			return nil, badRequest("invalid", "%q is no permission of Cloud Storage", p)
		}
	}
	err := s.view(func(tx *txn) error {
		_, err := tx.bucket(c.bucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: map[string]any{"kind": "storage#testIamPermissionsResponse", "permissions": asked}}, nil
}

// errBody is the refusal for a body that could not be read to its end; err is
// returned as it is if it is none of the reader's.
func errBody(err error) error {
	var broken *receiveError
	var no *refusal
	if errors.As(err, &broken) && !errors.As(err, &no) {
		return badRequest("invalid", "the request's body ended too early")
	}
	return err
}
