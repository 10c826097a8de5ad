package front

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"time"
)

// Entry is one line of the request log.
type Entry struct {
	Time    time.Time `json:"time"`
	Backend string    `json:"backend"` // empty if no backend was picked
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Status  int       `json:"status"` // 0 if the answer broke off
	Millis  float64   `json:"ms"`
	Release string    `json:"release,omitempty"` // as the backend's answer names it
	Agent   string    `json:"agent,omitempty"`   // the caller's User-Agent

	written bool
}

func (e Entry) failed() bool { return e.Status == 0 || e.Status >= 500 }

// Counts is what the log adds up to.
type Counts struct {
	Total     int            `json:"total"`
	Failed    int            `json:"failed"` // answered with 500 and above, or not at all
	ByBackend map[string]int `json:"by_backend"`
}

// Log is a file of entries, one JSON object a line, in the order in which the
// requests ended. It outlives the process, and so do its counts.
type Log struct {
	mu     sync.Mutex
	file   *os.File
	counts Counts
}

// OpenLog opens the log at path, makes it if there is none, and counts what it
// holds. A last line that a kill has left unfinished is cut off.
func OpenLog(path string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the request log: %w", err)
	}
	l := &Log{file: file, counts: Counts{ByBackend: map[string]int{}}}
	if err := l.recount(); err != nil {
		file.Close()
		return nil, fmt.Errorf("count the request log: %w", err)
	}
	return l, nil
}

func (l *Log) recount() error {
	reader := bufio.NewReaderSize(l.file, 1<<16)
	var whole int64
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return l.file.Truncate(whole)
			}
			return nil
		}
		if err != nil {
			return err
		}
		whole += int64(len(line))
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the line that ends at byte %d: %w", whole, err)
		}
		l.count(e)
	}
}

func (l *Log) count(e Entry) {
	l.counts.Total++
	if e.failed() {
		l.counts.Failed++
	}
	if e.Backend != "" {
		l.counts.ByBackend[e.Backend]++
	}
}

// Write appends an entry.
func (l *Log) Write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(e)
	_, err = l.file.Write(append(line, '\n'))
	return err
}

// Counts returns what the log adds up to now.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.ByBackend = maps.Clone(l.counts.ByBackend)
	return c
}

// Close flushes the log to the disk and closes it.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.file.Sync(), l.file.Close())
}
