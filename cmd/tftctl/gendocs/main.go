// Command gendocs writes docs/cli from the commands of tftctl.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra/doc"

	"github.com/tftctl/tftctl/cmd/tftctl/cli"
)

func main() {
	check := flag.Bool("check", false, "write nothing, say whether the folder is as it should be")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: gendocs [-check] docs/cli")
		os.Exit(3)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	if !check {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return write(dir)
	}
	fresh, err := os.MkdirTemp("", "gendocs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := write(fresh); err != nil {
		return err
	}
	return compare(dir, fresh)
}

// write makes dir and a page in it for each command.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := cli.Root()
	root.DisableAutoGenTag = true // a date would make every run a difference
	return doc.GenMarkdownTree(root, dir)
}

// compare names the first page in which dir and fresh differ.
func compare(dir, fresh string) error {
	var pages [2]map[string][]byte
	for i, d := range []string{dir, fresh} {
		files, err := filepath.Glob(filepath.Join(d, "*.md"))
		if err != nil {
			return err
		}
		pages[i] = map[string][]byte{}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			pages[i][strings.TrimPrefix(f, d)] = content
		}
	}
	for name, want := range pages[1] {
		if !bytes.Equal(pages[0][name], want) {
			return fmt.Errorf("%s%s is not as the commands are; run `make docs`", dir, name)
		}
	}
	if len(pages[0]) != len(pages[1]) {
		return fmt.Errorf("%s has %d pages, the commands make %d; run `make docs`", dir, len(pages[0]), len(pages[1]))
	}
	return nil
}
