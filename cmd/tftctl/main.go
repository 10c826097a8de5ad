// Command tftctl brings machine-learning models safely into production on
// Google Cloud.
package main

import (
	"os"

	"github.com/tftctl/tftctl/cmd/tftctl/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
