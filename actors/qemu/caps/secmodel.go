package caps

import "fmt"

// SecurityModels are the ways in which the guests of this driver are kept apart, the strongest first. A privileged
// daemon runs them as a user of their own (dac); uid and gid are that user's.
//
// No mandatory access control is claimed, whatever the host has, since guests get no label of it.
func SecurityModels(privileged bool, uid, gid uint32) []SecurityModel {
	models := []SecurityModel{{Model: "none", DOI: "0"}}
	if privileged {
		label := fmt.Sprintf("+%d:+%d", uid, gid)
		models = append(models, SecurityModel{Model: "dac", DOI: "0", BaseLabels: []BaseLabel{{"kvm", label}, {"qemu", label}}})
	}
	return models
}
