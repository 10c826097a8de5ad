package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tftctl/tftctl/pkg/fault"
)

// localInfo is where a local cloud answers. It stands in its folder while the
// cloud runs, and afterwards keeps the ports for the next time.
type localInfo struct {
	Schema   string `json:"schema"` // localInfoSchema
	Endpoint string `json:"endpoint"`
	URL      string `json:"url"`
	FrontURL string `json:"front_url"`
	PID      int    `json:"pid"`
	Dir      string `json:"dir"`
}

const (
	localInfoSchema = "tftctl/local/v1"
	localInfoFile   = "local.json"
)

// defaultLocalDir is where `local up` keeps its state unless told otherwise:
// the XDG Base Directory Specification's place for state.
func defaultLocalDir() string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "tftctl", "local")
}

// localDirUsage says what --dir is where it is left out.
const localDirUsage = "folder of its state (default: $XDG_STATE_HOME/tftctl/local)"

// localDir returns the absolute path of the folder that --dir names.
func localDir(named string) (string, error) {
	if named == "" {
		return defaultLocalDir(), nil
	}
	return filepath.Abs(named)
}

// readLocal returns where the local cloud with its state in dir answers.
func readLocal(dir string) (localInfo, error) {
	content, err := os.ReadFile(filepath.Join(dir, localInfoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return localInfo{}, fault.Wrap(fault.Unavailable, err, "no local cloud runs with its state in %s", dir).
			WithHint("start it with `tftctl local up --detach`; one in another folder is named by --endpoint-override or `local env`")
	}
	if err != nil {
		return localInfo{}, err
	}
	var l localInfo
	if err := json.Unmarshal(content, &l); err != nil || l.Schema != localInfoSchema {
		return localInfo{}, fault.Wrap(fault.Corrupt, err, "%s cannot be read (schema %q, want %q)", filepath.Join(dir, localInfoFile), l.Schema, localInfoSchema).
			WithHint("stop the local cloud and remove that file")
	}
	return l, nil
}

func (l localInfo) Text(t *text) error {
	_, err := fmt.Fprintf(t, "local cloud at %s, services at %s, process %d, state in %s\n", l.URL, l.FrontURL, l.PID, l.Dir)
	return err
}
