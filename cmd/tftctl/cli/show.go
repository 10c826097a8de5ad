package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tftctl/tftctl/pkg/term"
)

// answerSchema is the version of the JSON object that every command prints.
const answerSchema = "tftctl/v1"

// answer is what a command prints under -o json, also on failure.
type answer struct {
	Schema  string `json:"schema"`
	OK      bool   `json:"ok"`
	Code    int    `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Data    any    `json:"data,omitempty"`
}

// result is what a command found or did: its own JSON, and its own text.
type result interface {
	Text(t *text) error
}

// text is where a result writes itself for people.
type text struct {
	io.Writer
	terminal bool
	colour   bool
	width    int
}

// table writes rows under head; a cell without a value shows as -.
func (t *text) table(head []string, rows [][]string) error {
	for _, row := range rows {
		for i := range row {
			row[i] = orDash(row[i])
		}
	}
	return term.Table(t, t.terminal, head, rows)
}

func orDash(v string) string {
	if v == "" {
		return "-"
	}
	return v
}

// Show prints r, which is the only thing on standard output.
func (a *App) Show(r result) error {
	if a.format == "json" {
		kind := "OK"
		if a.exit == exitChanges {
			kind = "ChangesPresent"
		}
		return a.writeJSON(answer{Schema: answerSchema, OK: true, Code: a.exit, Kind: kind, Data: r})
	}
	terminal := term.IsTerminal(a.stdout)
	return r.Text(&text{Writer: a.stdout, terminal: terminal, colour: terminal && !a.noColor, width: term.Width(a.stdout)})
}

// ShowFailed prints r, of a run that failed, and returns why.
func (a *App) ShowFailed(r result, err error) error {
	a.failed = r
	if a.format != "json" {
		if showErr := a.Show(r); showErr != nil {
			return showErr
		}
	}
	return err
}

// fail prints err, which ends the program with code: on standard error for
// people, on standard output for programs.
func (a *App) fail(err error, code int) {
	f := asFault(err)
	exit := exitCodes[f.Kind]
	if a.format == "json" {
		out := answer{Schema: answerSchema, Code: code, Kind: exit.name, Message: f.Message, Hint: f.Hint}
		if a.failed != nil {
			out.Data = a.failed
		}
		if a.writeJSON(out) == nil {
			return
		}
	}
	fmt.Fprintf(a.stderr, "%s: %s\n", exit.name, f.Message)
	if f.Hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", f.Hint)
	}
	if a.verbose {
		for beneath := f.Beneath; beneath != nil; beneath = errors.Unwrap(beneath) {
			fmt.Fprintf(a.stderr, "beneath: %v\n", beneath)
		}
	}
}

func (a *App) writeJSON(v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", content)
	return err
}

// Say prints one line of progress.
func (a *App) Say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}
