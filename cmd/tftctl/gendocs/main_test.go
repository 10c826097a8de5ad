package main

import (
	"path/filepath"
	"testing"
)

func TestDocsAreAsTheCommandsAre(t *testing.T) {
	t.Parallel()
	if err := run(filepath.Join("..", "..", "..", "docs", "cli"), true); err != nil {
		t.Error(err)
	}
}
