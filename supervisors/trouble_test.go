package supervisors

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/asynkron/protoactor-go/actor"
)

func TestTroublesAreTheLastOnes(t *testing.T) {
	system := actor.NewActorSystem()
	if all, revision := Troubles(system); len(all) != 0 || revision != 0 {
		t.Fatalf("%d at revision %d before anything happened", len(all), revision)
	}
	boardOf(system).own.Store("root/qemu/u", Facts{Title: "web", Kind: "domain"})
	for i := range troublesKept + 3 {
		Report(system, Trouble{Kind: TroubleCrash, Actor: "root/qemu/u", Reason: fmt.Sprint(i)})
	}
	all, revision := Troubles(system)
	if len(all) != troublesKept || all[0].Reason != "3" || revision != TroubleRevision(system) {
		t.Fatalf("%d, the oldest %+v", len(all), all[0])
	}
	last := all[len(all)-1]
	if last.Serial != troublesKept+3 || last.Title != "web" || time.Since(last.At) > time.Minute {
		t.Errorf("the last: %+v", last)
	}
}

func TestAStuckActorComesBack(t *testing.T) {
	system := actor.NewActorSystem()
	Report(system, Trouble{Kind: TroubleStuck, Actor: "a"})
	Report(system, Trouble{Kind: TroubleStuck, Actor: "b"})
	_, before := Troubles(system)
	Recovered(system, "a")
	all, after := Troubles(system)
	if all[0].Over.IsZero() || !all[1].Over.IsZero() || before == after {
		t.Errorf("%+v, revision %d before and %d after", all, before, after)
	}
	Recovered(system, "a")
	if again := TroubleRevision(system); again != after {
		t.Error("what is over was over again")
	}
}

func TestTroublesAreBounded(t *testing.T) {
	system := actor.NewActorSystem()
	Report(system, Trouble{Actor: "a", Reason: strings.Repeat("ä", reasonKept), Stack: strings.Repeat("x", 2*stackKept)})
	all, _ := Troubles(system)
	if r := all[0].Reason; len(r) > reasonKept+8 || !utf8.ValidString(r) || !strings.HasSuffix(r, "…") {
		t.Errorf("a reason of %d bytes", len(r))
	}
	if s := all[0].Stack; len(s) > stackKept+8 {
		t.Errorf("a stack of %d bytes", len(s))
	}
}
