// Package version is what this binary was built from.
package version

import (
	"runtime"
	"runtime/debug"
)

// number is set by the linker: -X github.com/tftctl/tftctl/pkg/version.number=1.2.3.
var number = "0.1.0-dev"

// Info is what `version` prints.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get returns what this binary was built from.
func Get() Info {
	info := Info{Version: number, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.time":
				info.Date = s.Value
			}
		}
	}
	return info
}
