package isolation

import (
	"encoding/json"
	"os"
	"path/filepath"

	"virtree/bench/internal/lab"
)

// Contained says whether every fault was contained by virtree that can be: the end of a process cannot in one process.
func (rep *Report) Contained() bool {
	for _, row := range rep.Rows {
		for kind, c := range row.Cells {
			if !c.Contained && kind != lab.Reference && !(row.Ends && kind == lab.Single) {
				return false
			}
		}
	}
	return true
}

// Write puts the report into a folder, for programs and for people.
func (rep *Report) Write(dir string) error {
	text, err := json.MarshalIndent(rep, "", " ")
	if err != nil {
		return err
	}
	page, err := rep.page()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "isolation.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "isolation.html"), page, 0o644)
}

// Load reads the report of an earlier run.
func Load(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rep := &Report{}
	return rep, json.Unmarshal(text, rep)
}
