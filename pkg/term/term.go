// Package term is the terminal: tables, charts, and whether there is one.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width returns the columns of w, 80 where w is no terminal.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// Table writes rows under head to w: aligned on a terminal, separated by tabs
// elsewhere, where programs read.
func Table(w io.Writer, aligned bool, head []string, rows [][]string) error {
	out := w
	var tw *tabwriter.Writer
	if aligned {
		tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		out = tw
	}
	if aligned { // a pipe gets data alone
		if _, err := fmt.Fprintln(out, strings.ToUpper(strings.Join(head, "\t"))); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(out, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	if tw != nil {
		return tw.Flush()
	}
	return nil
}
