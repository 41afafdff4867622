package nwfilter

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"strings"

	"virtree/actors/nwfilter/def"
	"virtree/supervisors/paths"
)

// stock is the filters that come with virtree, under the names of those that come with libvirt.
//
//go:embed packaging/*.xml
var stock embed.FS

// Stock returns the documents of the stock filters, by name.
func Stock() map[string]string {
	all := map[string]string{}
	err := fs.WalkDir(stock, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		doc, err := stock.ReadFile(path)
		all[strings.TrimSuffix(e.Name(), ".xml")] = string(doc)
		return err
	})
	if err != nil {
		panic(err) // they are in the program
	}
	return all
}

// InstallStock writes the stock filters that the host has none of the same name of, as the installation of a package does,
// and returns how many. A daemon reads them at its next start.
func InstallStock(p paths.Paths) (n int, err error) {
	s := newStore(p)
	for name, doc := range Stock() {
		path, e := fileOf(s.filters, name)
		if e == nil {
			if _, e = os.Lstat(path); e == nil {
				continue
			}
			if errors.Is(e, fs.ErrNotExist) {
				var f *def.Filter
				if f, e = def.ParseFilter(doc, true); e == nil {
					e = s.saveFilter(f)
				}
			}
		}
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		n++
	}
	return n, err
}
