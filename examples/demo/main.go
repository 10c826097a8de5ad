// Command demo tells tftctl's whole story on the local cloud: from a model
// file to live, reversible traffic, with a steady stream of requests in which
// none fails. `make demo` runs it.
//
// It drives the programs that users have and talks to what they deploy through
// Google's official clients alone, so it is also an example of both.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(start(os.Args[1:]))
}

func start(args []string) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "folder of tftctl and tftserve")
	models := flags.String("models", "examples/tft", "folder of the example models and golden.json")
	result := flags.String("result", "bin/demo.json", "file for the result")
	if err := flags.Parse(args); err != nil {
		return 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := Run(ctx, Options{Bin: *bin, Models: *models, Result: *result, Out: os.Stdout})
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}
