package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/config"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/localcloud"
)

type localUpFlags struct {
	dir    string
	port   int
	front  int
	server string
	detach bool
}

func newLocalUpCmd(app *App) *cobra.Command {
	var flags localUpFlags
	cmd := &cobra.Command{
		Use: "up", Short: "Start the local cloud", Args: cobra.NoArgs,
		Example: "  tftctl local up --detach\n  eval \"$(tftctl local env)\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.detach {
				return runLocalDetach(cmd.Context(), app, flags)
			}
			return runLocalUp(cmd.Context(), app, flags)
		},
	}
	cmd.Flags().StringVar(&flags.dir, "dir", "", localDirUsage)
	cmd.Flags().IntVar(&flags.port, "port", -1, "port of the APIs; 0 takes a free one (default: the one it had, else a free one)")
	cmd.Flags().IntVar(&flags.front, "front-port", -1, "port of the services; 0 takes a free one (default: the one it had, else a free one)")
	cmd.Flags().StringVar(&flags.server, "server", "", "program that is started for every image (default: tftserve beside this program)")
	cmd.Flags().BoolVar(&flags.detach, "detach", false, "return once it answers and leave it running")
	return cmd
}

// runLocalUp runs the local cloud until ctx ends.
func runLocalUp(ctx context.Context, app *App, flags localUpFlags) error {
	server, err := serverProgram(flags.server)
	if err != nil {
		return err
	}
	dir, err := localDir(flags.dir)
	if err != nil {
		return err
	}
	if running, ok := answering(ctx, dir); ok {
		return app.Show(localUpResult{running})
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, err, "--dir %s: %v", dir, err)
	}
	had, _ := readLocal(dir) // none, or one that cannot be read: the ports are free ones
	control, err := listen(ctx, flags.port, had.Endpoint)
	if err != nil {
		return err
	}
	defer control.Close()
	front, err := listen(ctx, flags.front, hostOf(had.FrontURL))
	if err != nil {
		return err
	}
	defer front.Close()

	level := slog.LevelWarn
	if app.verbose {
		level = slog.LevelInfo
	}
	platform, err := localcloud.Open(ctx, localcloud.Options{
		Dir: dir, Server: server, Project: config.LocalProject,
		Log: slog.New(slog.NewTextHandler(app.stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the local cloud cannot start: %v", err).WithHint("another one may use %s: `tftctl local status --dir %s`", dir, dir)
	}
	served := make(chan error, 1)
	go func() { served <- platform.Serve(ctx, control, front) }()
	select {
	case err := <-served:
		return errors.Join(errors.New("the local cloud stopped before it was ready"), err)
	case <-platform.Ready():
	}
	info := localInfo{
		Schema: localInfoSchema, Endpoint: control.Addr().String(), URL: "http://" + control.Addr().String(),
		FrontURL: "http://" + front.Addr().String(), PID: os.Getpid(), Dir: dir,
	}
	if err := writeLocal(info); err != nil {
		return err
	}
	if err := app.Show(localUpResult{info}); err != nil {
		return err
	}
	err = <-served
	// Stopped on purpose: nobody must find an address where nothing answers.
	if rmErr := os.Remove(filepath.Join(dir, localInfoFile)); rmErr == nil {
		err = errors.Join(err, writePorts(info))
	}
	return err
}

// localUpResult is a local cloud that runs, and how to reach one that tftctl
// does not find by itself.
type localUpResult struct{ localInfo }

func (r localUpResult) Text(t *text) error {
	if err := r.localInfo.Text(t); err != nil || r.Dir == defaultLocalDir() {
		return err
	}
	_, err := fmt.Fprintf(t, "point this shell at it: eval \"$(tftctl local env --dir %s)\"\n", r.Dir)
	return err
}

func writeLocal(info localInfo) error {
	content, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(info.Dir, localInfoFile), content, 0o600)
}

// serverProgram returns the program that plays every image.
func serverProgram(named string) (string, error) {
	if named == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		named = filepath.Join(filepath.Dir(self), "tftserve")
	}
	path, err := filepath.Abs(named)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fault.Wrap(fault.Invalid, err, "there is no program %s to start for an image", path).
			WithHint("`make build` puts tftserve beside tftctl; --server names another")
	}
	return path, nil
}

// listen opens a port on loopback: the wanted one, or where wanted is below 0
// the one it had before, or a free one.
func listen(ctx context.Context, wanted int, had string) (net.Listener, error) {
	address := "127.0.0.1:" + strconv.Itoa(max(wanted, 0))
	if wanted < 0 && had != "" {
		address = had
	}
	if wanted > 65535 {
		return nil, fault.Newf(fault.Invalid, "%d is no port", wanted).WithHint("ports end at 65535; 0 takes a free one")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Wrap(fault.Unavailable, err, "%s cannot be listened on: %v", address, err).WithHint("choose another with --port and --front-port, 0 for a free one")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "%s is taken by another program", address).
			WithHint("choose another with --port and --front-port, 0 for a free one; what was deployed keeps its state, and gets new addresses")
	}
	return l, nil
}

func hostOf(url string) string {
	if len(url) > len("http://") {
		return url[len("http://"):]
	}
	return ""
}

// answering returns the local cloud that runs in dir already.
func answering(ctx context.Context, dir string) (localInfo, bool) {
	info, err := readLocal(dir)
	if err != nil || info.PID == 0 {
		return localInfo{}, false
	}
	if _, err := askLocal(ctx, info); err != nil {
		return localInfo{}, false
	}
	return info, true
}

// detachPatience is how long a detached local cloud may take until it answers.
const detachPatience = 60 * time.Second

// runLocalDetach starts this program again in the background and returns when
// its local cloud answers.
func runLocalDetach(ctx context.Context, app *App, flags localUpFlags) error {
	dir, err := localDir(flags.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, err, "--dir %s: %v", dir, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(dir, "local.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	args := []string{"local", "up", "--dir", dir, "--port", strconv.Itoa(flags.port), "--front-port", strconv.Itoa(flags.front), "--format", "json"}
	if flags.server != "" {
		args = append(args, "--server", flags.server)
	}
	child := exec.Command(self, args...) //nolint:noctx // not CommandContext: it outlives this program
	child.Stderr = logFile
	child.SysProcAttr = ownSession()
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return fault.Wrap(fault.Internal, err, "start the local cloud: %v", err)
	}
	lines := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadBytes('\n') // an empty line says that it ended
		lines <- line
	}()
	timeout := time.NewTimer(detachPatience)
	defer timeout.Stop()
	select {
	case line := <-lines:
		return app.showDetached(line, child)
	case <-timeout.C:
		err = fault.Newf(fault.Timeout, "the local cloud does not answer after %s", detachPatience).WithHint("its log is %s", logFile.Name())
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, child.Process.Kill(), ignoreExit(child.Wait()))
}

func (a *App) showDetached(line []byte, child *exec.Cmd) error {
	var said struct {
		answer
		Data localInfo `json:"data"`
	}
	if err := json.Unmarshal(line, &said); err != nil {
		return fault.Wrap(fault.Internal, errors.Join(err, child.Wait()), "the local cloud ended before it answered").WithHint("its log is local.log in its folder")
	}
	if !said.OK {
		waitErr := child.Wait()
		f := fault.Wrap(kindNamed(said.Kind), waitErr, "%s", said.Message)
		f.Hint = said.Hint
		return f
	}
	return a.Show(localUpResult{said.Data})
}

func kindNamed(name string) fault.Kind {
	for kind, exit := range exitCodes {
		if exit.name == name {
			return kind
		}
	}
	return fault.Internal
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// writePorts leaves the ports of a local cloud that has ended for its next start.
func writePorts(info localInfo) error {
	info.PID = 0
	if err := writeLocal(info); err != nil {
		return fmt.Errorf("keep the ports: %w", err)
	}
	return nil
}
