package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tftctl/tftctl/pkg/fault"
)

// strict makes every command below root refuse a command line that is wrong as
// a fault with a hint. Cobra by itself prints help and succeeds for some, and
// returns plain errors for others.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	each(root, func(cmd *cobra.Command) {
		switch {
		case cmd.Name() == "help":
			cmd.Run, cmd.RunE = nil, runHelp
		case cmd.HasSubCommands():
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runGroup
		case cmd.Args != nil:
			cmd.Args = refusing(cmd.Args)
		}
	})
}

func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		each(c, do)
	}
}

// refusing returns check with errors that are faults.
func refusing(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		var known *fault.Error
		if err == nil || errors.As(err, &known) {
			return err
		}
		return fault.Wrap(fault.Invalid, err, "%v", err).WithHint("usage: %s", cmd.UseLine())
	}
}

// runGroup is a command that only holds others.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	f := fault.Newf(fault.Invalid, "unknown command %q for %q", name, cmd.CommandPath())
	for _, slips := range []int{1, 2} {
		cmd.SuggestionsMinimumDistance = slips
		if near := cmd.SuggestionsFor(name); len(near) > 0 {
			return f.WithHint("did you mean `%s %s`?", cmd.CommandPath(), near[0])
		}
	}
	return f.WithHint("`%s --help` lists what there is", cmd.CommandPath())
}

func runHelp(cmd *cobra.Command, args []string) error {
	about := cmd.Root()
	for _, name := range args {
		next, _, err := about.Find([]string{name})
		if err != nil || next == about {
			return unknownCommand(about, name)
		}
		about = next
	}
	return about.Help()
}

// wantsJSON reports whether args or the environment ask for JSON, for a command
// line that is so wrong that its flags were not read.
func wantsJSON(args []string) bool {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.ParseErrorsAllowlist.UnknownFlags = true
	f.BoolP("help", "h", false, "")
	format := f.StringP("format", "o", os.Getenv("TFTCTL_FORMAT"), "")
	if err := f.Parse(args); err != nil && !strings.Contains(err.Error(), "help") {
		return false // not even that can be read: the error is for people
	}
	return *format == "json"
}
