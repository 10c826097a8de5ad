// Package alias is a deploy.Target over version aliases: Vertex AI's where
// there is Vertex, the bucket's otherwise.
package alias

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// Book is where aliases stand.
type Book interface {
	// Aliases returns which version each alias points to.
	Aliases(ctx context.Context) (map[string]model.Version, error)
	// Point moves alias to a version; 0 removes it.
	Point(ctx context.Context, alias string, to model.Version) error
}

// Pointers is the aliases of one model.
type Pointers struct {
	name string
	book Book
}

var _ deploy.Target = Pointers{}

// New returns the aliases that stand in book. Place is where that is, a region
// or "bucket".
func New(book Book, place, modelName string) Pointers {
	return Pointers{deploy.AliasFact + "/" + place + "/" + modelName, book}
}

// Name implements deploy.Target: alias/PLACE/MODEL.
func (p Pointers) Name() string { return p.name }

// Look implements deploy.Target.
func (p Pointers) Look(ctx context.Context) (deploy.Facts, error) {
	aliases, err := p.book.Aliases(ctx)
	if err != nil {
		return nil, err
	}
	facts := deploy.Facts{}
	for alias, v := range aliases {
		facts[deploy.AliasFact+" "+alias] = v.String()
	}
	return facts, nil
}

// Start implements deploy.Target. It is done when it returns.
func (p Pointers) Start(ctx context.Context, s deploy.Step) (string, error) {
	facts, err := p.Look(ctx)
	if err != nil {
		return "", err
	}
	if done, err := s.Expect(facts[s.Fact]); done || err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(s.Fact, deploy.AliasFact+" ")
	if !ok {
		return "", fault.Newf(fault.Invalid, "%s cannot do %s", p.name, s).WithHint("plan again")
	}
	var to model.Version
	if s.To != "" {
		if to, err = model.ParseVersion(s.To); err != nil {
			return "", err
		}
	}
	return "", p.book.Point(ctx, name, to)
}

// Wait implements deploy.Target.
func (p Pointers) Wait(ctx context.Context, s deploy.Step, _ string) error {
	return s.Confirm(ctx, p)
}

// Bucket is a Book in a blob.Store, for a project without Vertex AI.
type Bucket struct {
	store blob.Store
	name  string
}

// InBucket returns the aliases of the model called modelName that stand in store.
func InBucket(store blob.Store, modelName string) Bucket {
	return Bucket{store, "models/" + modelName + "/aliases.json"}
}

// BucketSchema is the version of the stored form.
const BucketSchema = "tftctl/aliases/v1"

type aliasesFile struct {
	Schema  string                   `json:"schema"`
	Aliases map[string]model.Version `json:"aliases"`
}

func (b Bucket) read(ctx context.Context) (aliasesFile, int64, error) {
	f := aliasesFile{BucketSchema, map[string]model.Version{}}
	content, generation, err := b.store.Get(ctx, b.name)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return f, 0, nil
	}
	if err != nil {
		return f, 0, fmt.Errorf("read the aliases: %w", err)
	}
	if err := json.Unmarshal(content, &f); err != nil || f.Schema != BucketSchema {
		return f, 0, fault.Wrap(fault.Corrupt, err, "%s cannot be read (schema %q, want %q)", b.name, f.Schema, BucketSchema)
	}
	return f, generation, nil
}

// Aliases implements Book.
func (b Bucket) Aliases(ctx context.Context) (map[string]model.Version, error) {
	f, _, err := b.read(ctx)
	return f.Aliases, err
}

// Point implements Book.
func (b Bucket) Point(ctx context.Context, alias string, to model.Version) error {
	f, generation, err := b.read(ctx)
	if err != nil {
		return err
	}
	if to == 0 {
		delete(f.Aliases, alias)
	} else {
		f.Aliases[alias] = to
	}
	content, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	_, err = b.store.Put(ctx, b.name, content, generation)
	return err
}
