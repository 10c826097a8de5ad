package fleet

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// mostOutput is how large a log file grows before it becomes the file's one
// predecessor and a new one begins.
const mostOutput = 16 << 20

// mostLastLine bounds what an error quotes of the log.
const mostLastLine = 400

// output writes what a process says to a file and remembers the end of it.
type output struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	tail []byte
}

func openOutput(folder, name string) (*output, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	o := &output{path: filepath.Join(folder, strings.ReplaceAll(name, "/", "_")+".log")}
	return o, o.open(os.O_APPEND)
}

func (o *output) open(how int) error {
	file, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|how, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	o.file, o.size = file, info.Size()
	return nil
}

// Write never fails: a full disk must not end a process that only wants to log.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p...)
	if over := len(o.tail) - 4*mostLastLine; over > 0 {
		o.tail = append(o.tail[:0], o.tail[over:]...)
	}
	if o.size+int64(len(p)) > mostOutput {
		o.file.Close()
		_ = os.Rename(o.path, o.path+".1") // if not, the file is begun anew all the same
		if err := o.open(os.O_TRUNC); err != nil {
			return len(p), nil
		}
	}
	n, _ := o.file.Write(p)
	o.size += int64(n)
	return len(p), nil
}

// close lets go of the file. What could not be written is lost, like all that a
// process says when nobody can write it down.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.file.Close()
}

// lastLine returns the last line that is not empty.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(o.tail), []byte("\n"))
	last := bytes.TrimSpace(lines[len(lines)-1])
	if len(last) > mostLastLine {
		last = append(last[:mostLastLine:mostLastLine], "..."...)
	}
	return string(last)
}
