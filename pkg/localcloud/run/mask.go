package run

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// copyPath copies the field that path leads to; where it is not set in from it
// is cleared.
func copyPath(to, from protoreflect.Message, path []string) error {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if field == nil {
		return errors.New("is no field")
	}
	if len(path) == 1 {
		if from.Has(field) {
			to.Set(field, from.Get(field))
		} else {
			to.Clear(field)
		}
		return nil
	}
	if field.IsList() || field.IsMap() || field.Kind() != protoreflect.MessageKind {
		return errors.New("leads into a field that has none")
	}
	if !from.Has(field) && !to.Has(field) {
		return nil
	}
	return copyPath(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
}
