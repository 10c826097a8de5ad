package cli

import (
	"time"

	"github.com/tftctl/tftctl/deploy"
)

// patience is how long a step may take before it is said what is waited for.
const patience = time.Second

// teller returns what prints the progress of a run: a line for each step that
// has ended, and one for a step that keeps people waiting.
func teller(app *App) deploy.Tell {
	var waiting *time.Timer
	return func(e deploy.Event) {
		if waiting != nil {
			waiting.Stop()
		}
		switch {
		case e.Step == nil:
			app.Say("%-8s %s", e.Stage, e.Text)
		case e.Text != "":
			app.Say("%-8s %s: %s", e.Stage, e.Step, e.Text)
		case e.Took == 0:
			waiting = time.AfterFunc(patience, func() { app.Say("%-8s %s: waiting", e.Stage, e.Step) })
		default:
			app.Say("%-8s %s  %d ms", e.Stage, e.Step, e.Took.Milliseconds())
		}
	}
}
