package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec is what an instance is to be.
type Spec struct {
	Name  string                  // such as run/us-central1/forecaster/forecaster-00001-abc
	Kind  string                  // "run" or "vertex"
	Args  []string                // of the program
	Env   func(port int) []string // the container contract and the user's variables
	Start Probe                   // passes once the instance has started
	Ready *Probe                  // nil: an instance that has started takes requests
	Live  *Probe                  // nil: an instance lives until its process ends

	// Proven says that this instance has been ready before, in an earlier life
	// of the local cloud: it is started again however often it fails. One that
	// is not proven must get ready at its first attempt.
	Proven bool
}

// State is where an instance is in its life.
type State string

// The states. Only a Ready instance takes requests.
const (
	Starting   State = "starting"
	Ready      State = "ready"
	Unready    State = "unready"    // its readiness probe fails
	Restarting State = "restarting" // its process ended and another will follow
	Stopping   State = "stopping"
	Stopped    State = "stopped"
	Failed     State = "failed" // it did not get ready
)

// ErrStopped is what Ready and Address return once the instance was told to stop.
var ErrStopped = errors.New("the instance has stopped")

// Instance is one process, or the succession of processes that crashes make of
// it, at one address. It is safe for concurrent use.
type Instance struct {
	spec    Spec
	options Options
	output  *output

	stopOnce sync.Once
	stop     chan struct{} // closed when it is told to stop
	done     chan struct{} // closed when its last process is gone

	mu        sync.Mutex
	port      *reservation
	state     State
	everReady bool
	release   string
	pid       int
	restarts  int
	failure   error
	changed   chan struct{} // closed and replaced on each change of state
}

// Description is an instance as people are shown it.
type Description struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	PID      int    `json:"pid"`
	Address  string `json:"address"`
	State    State  `json:"state"`
	Restarts int    `json:"restarts"`
	Release  string `json:"release,omitempty"` // TFT_RELEASE of its environment
}

// Describe says how the instance is.
func (i *Instance) Describe() Description {
	i.mu.Lock()
	defer i.mu.Unlock()
	return Description{
		Name: i.spec.Name, Kind: i.spec.Kind, PID: i.pid, Address: i.port.address(),
		State: i.state, Restarts: i.restarts, Release: i.release,
	}
}

// WaitReady returns nil once the instance takes requests, and why not as soon
// as it is clear that it will not.
func (i *Instance) WaitReady(ctx context.Context) error {
	_, err := i.Address(ctx)
	return err
}

// Address returns where the instance takes requests. It waits while the instance
// starts or restarts, and no longer than ctx.
func (i *Instance) Address(ctx context.Context) (string, error) {
	for {
		i.mu.Lock()
		state, failure, changed, address := i.state, i.failure, i.changed, i.port.address()
		i.mu.Unlock()
		switch state {
		case Ready:
			return address, nil
		case Failed:
			return "", failure
		case Stopping, Stopped:
			return "", ErrStopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Settle waits until the instance takes requests or one of its processes has
// ended without getting there.
func (i *Instance) Settle(ctx context.Context) {
	for {
		i.mu.Lock()
		state, changed := i.state, i.changed
		i.mu.Unlock()
		if state != Starting {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Terminate tells the instance to stop and does not wait for it: SIGTERM, the
// grace, SIGKILL.
func (i *Instance) Terminate() { i.stopOnce.Do(func() { close(i.stop) }) }

// Done is closed when the instance's last process is gone.
func (i *Instance) Done() <-chan struct{} { return i.done }

func (i *Instance) become(s State) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state == s || i.state == Stopping && s != Stopped {
		return
	}
	i.state = s
	if s == Ready {
		i.everReady = true
	}
	close(i.changed)
	i.changed = make(chan struct{})
}

// The bounds of the wait before a crashed process is started again.
const (
	shortestBackoff = 100 * time.Millisecond
	longestBackoff  = 10 * time.Second
	calmAfter       = time.Minute // a process that ran this long starts the backoff anew
)

// supervise lives as long as the instance does.
//
// It stays on one thread, which ends with it: the signal that kills a child when
// its parent dies is sent when the thread that forked it ends, not the process.
func (i *Instance) supervise() {
	runtime.LockOSThread()
	defer i.output.close()
	defer func() { i.port.release() }()

	backoff := shortestBackoff
	for taken := 0; ; {
		began := time.Now()
		err := i.live()
		if i.stopping() {
			i.become(Stopped)
			return
		}
		if !i.ready() && i.port.taken() && taken < 3 {
			taken++ // somebody else sits on our port: not the program's fault
			if err := i.moveToAnotherPort(); err == nil {
				continue
			}
		}
		if !i.ready() && !i.spec.Proven {
			i.mu.Lock()
			i.failure = err
			i.mu.Unlock()
			i.become(Failed)
			return
		}
		if time.Since(began) > calmAfter {
			backoff = shortestBackoff
		}
		i.options.Log.Warn("instance ended, it will be started again", "instance", i.spec.Name, "error", err, "after", backoff)
		i.mu.Lock()
		i.restarts++
		i.pid = 0
		i.mu.Unlock()
		i.become(Restarting)
		select {
		case <-time.After(backoff):
		case <-i.stop:
			i.become(Stopped)
			return
		}
		backoff = min(2*backoff, longestBackoff)
	}
}

func (i *Instance) stopping() bool {
	select {
	case <-i.stop:
		return true
	default:
		return false
	}
}

// ready says whether the instance has ever been ready.
func (i *Instance) ready() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.everReady
}

func (i *Instance) moveToAnotherPort() error {
	port, err := reserve()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.port.release()
	i.port = port
	return nil
}

// live starts one process, watches over it and returns why it ended.
func (i *Instance) live() error {
	cmd := i.command()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the container did not start: %w", err)
	}
	i.mu.Lock()
	i.pid = cmd.Process.Pid
	i.mu.Unlock()
	if i.ready() {
		i.become(Restarting)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	var verdict error // why the process was killed, if it was the probes' doing
	helpers.Go(func() { i.terminateWhenTold(ctx, cmd.Process.Pid) })
	helpers.Go(func() {
		if verdict = i.watch(ctx); verdict != nil {
			i.kill(cmd.Process.Pid)
		}
	})

	ended := cmd.Wait()
	cancel()
	helpers.Wait()
	i.kill(cmd.Process.Pid) // whatever it has left behind in its group

	if verdict != nil {
		return verdict
	}
	return i.explain(ended)
}

// command is the process as it is to be: its own group, so that its children can
// be signalled with it, and dead when we are.
func (i *Instance) command() *exec.Cmd {
	port := i.port.port
	// Not tied to a context: that would kill it without a SIGTERM.
	cmd := exec.CommandContext(context.Background(), i.options.Server, i.spec.Args...)
	cmd.Env = append(bareEnvironment(), i.options.Env...)
	cmd.Env = append(cmd.Env, i.spec.Env(port)...)
	cmd.Stdout, cmd.Stderr = i.output, i.output
	cmd.SysProcAttr = attributes()
	// A grandchild that keeps the pipes open must not keep us waiting.
	cmd.WaitDelay = 2 * time.Second

	release := ""
	for _, v := range cmd.Env {
		if value, ok := strings.CutPrefix(v, "TFT_RELEASE="); ok {
			release = value
		}
	}
	i.mu.Lock()
	i.release = release
	i.mu.Unlock()
	return cmd
}

// bareEnvironment is what a container finds besides its contract. The local
// cloud's own variables are not among it: a container would not see them.
func bareEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (i *Instance) terminateWhenTold(ctx context.Context, pid int) {
	select {
	case <-i.stop:
	case <-ctx.Done():
		return
	}
	i.become(Stopping)
	i.signal(pid, syscall.SIGTERM)
	grace := time.NewTimer(i.options.Grace)
	defer grace.Stop()
	select {
	case <-grace.C:
		i.options.Log.Warn("instance did not end within the grace, it is killed", "instance", i.spec.Name, "pid", pid)
		i.kill(pid)
	case <-ctx.Done():
	}
}

func (i *Instance) kill(pid int) { i.signal(pid, syscall.SIGKILL) }

// signal reaches the whole group. That the group is gone already is no error.
func (i *Instance) signal(pid int, s syscall.Signal) {
	if err := syscall.Kill(-pid, s); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
		i.options.Log.Error("signal an instance", "instance", i.spec.Name, "pid", pid, "error", err)
	}
}

// explain says how the process ended, with the last line that it wrote.
func (i *Instance) explain(ended error) error {
	how := "exited with code 0"
	var exit *exec.ExitError
	if errors.As(ended, &exit) {
		how = fmt.Sprintf("exited with code %d", exit.ExitCode())
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			how = fmt.Sprintf("was ended by signal %d (%s)", w.Signal(), w.Signal())
		}
	} else if ended != nil {
		how = "ended: " + ended.Error()
	}
	if last := i.output.lastLine(); last != "" {
		return fmt.Errorf("the container %s; its last line: %s", how, last)
	}
	return fmt.Errorf("the container %s", how)
}
