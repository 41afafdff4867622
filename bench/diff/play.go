package diff

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"virtree/bench/internal/lab"
)

// patience is how long one client command may take. Beyond it the command is killed
// and counts as a difference, unless both sides are that slow.
const patience = 40 * time.Second

// Outcome is what one step did on one side, normalized.
type Outcome struct {
	Exit           int
	Stdout, Stderr string
}

// background is a client that runs beside the steps.
type background struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // one token: output came since the last look
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.out.Write(p)
}

func (b *background) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// player plays one scenario on one target.
type player struct {
	target *lab.Target
	work   string
	vars   *strings.Replacer
	norm   *normalizer
	back   map[string]*background
}

// Play runs all steps and removes what they leave behind.
func Play(ctx context.Context, t *lab.Target, s *Scenario) ([]Outcome, error) {
	p := &player{target: t, work: filepath.Join(t.Dir, "w", s.Name), back: map[string]*background{}}
	if err := os.MkdirAll(p.work, 0o755); err != nil {
		return nil, err
	}
	// QEMU, which may run as a user of its own, makes sockets and logs there.
	if err := os.Chmod(p.work, 0o777); err != nil {
		return nil, err
	}
	image := lab.Image{DomainType: "qemu"}
	if usesGuest(s) {
		var err error
		if image, err = lab.Guest(); err != nil {
			return nil, err
		}
	}
	p.vars = strings.NewReplacer("$WORK", p.work, "$KERNEL", image.Kernel, "$INITRD", image.Initrd,
		"$CMDLINE", image.Cmdline, "$DOMTYPE", image.DomainType)
	p.norm = newNormalizer(t.Dir, p.work)
	for _, f := range s.Files {
		path := filepath.Join(p.work, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(p.vars.Replace(string(f.Data))), 0o644); err != nil {
			return nil, err
		}
	}
	defer p.clean(context.WithoutCancel(ctx))
	var all []Outcome
	for i := range s.Steps {
		o, err := p.step(ctx, &s.Steps[i])
		if err != nil {
			return all, fmt.Errorf("line %d: %s: %w", s.Steps[i].Line, s.Steps[i].Text, err)
		}
		all = append(all, o)
	}
	return all, nil
}

func usesGuest(s *Scenario) bool {
	for _, f := range s.Files {
		if bytes.Contains(f.Data, []byte("$KERNEL")) {
			return true
		}
	}
	return false
}

func (p *player) expand(args []string) []string {
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = p.vars.Replace(a)
	}
	return all
}

// command prepares a client in $WORK.
func (p *player) command(ctx context.Context, verb string, args []string) *exec.Cmd {
	args = p.expand(args)
	var cmd *exec.Cmd
	switch verb {
	case "box":
		cmd = p.target.Box.Command(ctx, args[0], args[1:]...)
	case "virsh-ro":
		cmd = exec.CommandContext(ctx, "virsh", append([]string{"-r", "-c", p.target.ReadOnlyURI()}, args...)...)
	case "python":
		python, err := lab.Python()
		if err != nil {
			python = "python3"
		}
		cmd = exec.CommandContext(ctx, python, args...)
	default:
		cmd = exec.CommandContext(ctx, "virsh", append([]string{"-c", p.target.URI()}, args...)...)
	}
	cmd.Env = append(p.target.Env(), "WORK="+p.work)
	cmd.Dir = p.work
	return cmd
}

func (p *player) step(ctx context.Context, s *Step) (Outcome, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch s.Verb {
	case "image":
		r := lab.Finish(exec.CommandContext(limited, "qemu-img", "create", "-q", "-f", s.Args[2],
			filepath.Join(p.work, s.Args[0]), s.Args[1]))
		if r.Exit != 0 {
			return Outcome{}, fmt.Errorf("qemu-img: %s", r.Stderr)
		}
		return Outcome{}, nil
	case "background":
		return Outcome{}, p.start(ctx, s)
	case "await":
		return p.await(limited, s)
	case "stop":
		return p.stop(s)
	case "until-virsh":
		var r lab.Result
		lab.Await(limited, func() bool {
			r = lab.Finish(p.command(limited, "virsh", s.Args))
			return s.Match.MatchString(r.Stdout)
		})
		return p.outcome(s, r), nil
	}
	return p.outcome(s, lab.Finish(p.command(limited, s.Verb, s.Args))), nil
}

func (p *player) outcome(s *Step, r lab.Result) Outcome {
	return Outcome{Exit: r.Exit, Stdout: p.norm.text(s, r.Stdout), Stderr: p.norm.text(s, r.Stderr)}
}

func (p *player) start(ctx context.Context, s *Step) error {
	b := &background{cmd: p.command(ctx, s.Args[1], s.Args[2:]), done: make(chan struct{}), more: make(chan struct{}, 1)}
	b.cmd.Stdout, b.cmd.Stderr = b, b
	b.cmd.WaitDelay = 2 * time.Second
	if err := b.cmd.Start(); err != nil {
		return err
	}
	go func() {
		b.cmd.Wait()
		close(b.done)
	}()
	p.back[s.Args[0]] = b
	return nil
}

func (p *player) await(ctx context.Context, s *Step) (Outcome, error) {
	b := p.back[s.Args[0]]
	if b == nil {
		return Outcome{}, fmt.Errorf("nothing in the background is called %s", s.Args[0])
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for !s.Match.MatchString(b.text()) {
		select {
		case <-b.more:
		case <-b.done:
			if s.Match.MatchString(b.text()) {
				return Outcome{}, nil
			}
			return Outcome{Exit: 1, Stderr: "ended before it printed that\n"}, nil
		case <-ctx.Done():
			return Outcome{Exit: 1, Stderr: "waited 20 s in vain\n"}, nil
		}
	}
	return Outcome{}, nil
}

func (p *player) stop(s *Step) (Outcome, error) {
	b := p.back[s.Args[0]]
	if b == nil {
		return Outcome{}, fmt.Errorf("nothing in the background is called %s", s.Args[0])
	}
	delete(p.back, s.Args[0])
	b.end()
	return Outcome{Stdout: p.norm.text(s, b.text())}, nil
}

// end interrupts the client as Ctrl-C would, and insists after a while.
func (b *background) end() {
	b.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-b.done:
	case <-time.After(5 * time.Second):
		b.cmd.Process.Kill()
		<-b.done
	}
}

// clean leaves the target as the scenario found it.
func (p *player) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, b := range p.back {
		b.end()
	}
	for _, name := range lab.Lines(p.target.Virsh(ctx, "list", "--name").Stdout) {
		p.target.Virsh(ctx, "destroy", name)
	}
	for _, name := range lab.Lines(p.target.Virsh(ctx, "list", "--all", "--name").Stdout) {
		p.target.Virsh(ctx, "undefine", "--managed-save", "--snapshots-metadata", "--nvram", name)
	}
	os.RemoveAll(p.work)
}
