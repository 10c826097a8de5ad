package front

import (
	"strings"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

const (
	kindKey   = "front/key"   // key -> the resource that has it
	kindOwner = "front/owner" // resource -> its key
)

// Claim gives resource a route key and keeps it until Release. The short key
// goes to whoever asks first; the same name in another project gets the long one.
func Claim(tx *state.Tx, resource, short, long string) error {
	if tx.Get(kindOwner, resource) != nil {
		return nil
	}
	key := short
	if tx.Get(kindKey, short) != nil {
		key = long
	}
	if err := tx.Put(kindKey, key, []byte(resource)); err != nil {
		return err
	}
	return tx.Put(kindOwner, resource, []byte(key))
}

// Claimed returns the key that resource has, or an empty one.
func Claimed(tx *state.Tx, resource string) string { return string(tx.Get(kindOwner, resource)) }

// Release gives resource's key back.
func Release(tx *state.Tx, resource string) error {
	key := Claimed(tx, resource)
	if key == "" {
		return nil
	}
	if err := tx.Delete(kindKey, key); err != nil {
		return err
	}
	return tx.Delete(kindOwner, resource)
}

// Keys returns the short and the long key of a resource's name, such as
// projects/P/locations/L/services/S, for a kind such as "run".
func Keys(kind, resource string) (short, long string) {
	s := strings.Split(resource, "/")
	short = kind + "/" + s[3] + "/" + s[5]
	return short, "p/" + s[1] + "/" + short
}
