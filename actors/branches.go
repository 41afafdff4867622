package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/iface"
	"virtree/actors/internal/branch"
	"virtree/actors/internal/kit"
	"virtree/actors/lockd"
	"virtree/actors/logd"
	"virtree/actors/network"
	"virtree/actors/nodedev"
	"virtree/actors/nwfilter"
	"virtree/actors/proxy"
	"virtree/actors/qemu"
	"virtree/actors/secret"
	"virtree/actors/storage"
	"virtree/supervisors"
)

// newBranch makes the actor of a branch: the one place where names become drivers.
func newBranch(env *branch.Env, b supervisors.Branch) (*actor.Props, error) {
	producer, err := producerOf(env, b.Name)
	if err != nil {
		return nil, err
	}
	return kit.Props(producer, kit.Kind("branch"), kit.Abandon(branchPatience)), nil
}

// branchPatience is how long a branch may be in one message until it is given up: all callers of its driver wait for it, so
// it has half the time of an object.
const branchPatience = 5 * time.Second

func producerOf(env *branch.Env, name string) (actor.Producer, error) {
	switch name {
	case "qemu":
		conf, err := qemu.ReadConfig(env.Paths.ConfFile("qemu"))
		if err != nil {
			return nil, err
		}
		return qemu.New(env, conf), nil
	case "logd":
		conf, err := logd.ReadConfig(env.Paths.ConfFile("virtlogd"))
		if err != nil {
			return nil, err
		}
		return logd.New(env, conf), nil
	case "network":
		return network.New(env), nil
	case "storage":
		return storage.New(env), nil
	case "nwfilter":
		return nwfilter.New(env), nil
	case "secret":
		return secret.New(env), nil
	case "nodedev":
		return nodedev.New(env), nil
	case "interface":
		return iface.New(env), nil
	case "lockd":
		return lockd.New(env), nil
	case "proxy":
		return proxy.New(env), nil
	}
	return nil, fmt.Errorf("there is no driver for the branch %q", name)
}
