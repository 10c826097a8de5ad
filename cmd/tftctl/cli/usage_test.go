package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pflag takes a word in backquotes for the name of the flag's value.
func TestFlagsAreExplainedWithoutBackquotes(t *testing.T) {
	t.Parallel()
	each(Root(), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(f.Usage, "`") {
				t.Errorf("%s --%s: %s", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
	})
}

func TestEveryFlagOfARolloutIsKnownByName(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{}
	new(rolloutFlags).add(&App{}, cmd)
	n := 0
	cmd.Flags().VisitAll(func(*pflag.Flag) { n++ })
	for _, name := range rolloutFlagNames {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("there is no --%s", name)
		}
	}
	if n != len(rolloutFlagNames) {
		t.Errorf("%d flags, %d names", n, len(rolloutFlagNames))
	}
}
