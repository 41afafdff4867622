package logd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config is what virtlogd.conf says about files.
type Config struct {
	MaxSize    int64         // bytes; 0 = never rotate
	MaxBackups int           // how many rotated files are kept
	MaxAge     time.Duration // rotated files older than this are removed; 0 = never
}

// Defaults are virtlogd's.
func Defaults() Config { return Config{MaxSize: 2 << 20, MaxBackups: 3} }

// ReadConfig reads virtlogd.conf; a file that is not there leaves the defaults. Keys that are not about files are left
// to those whom they concern.
func ReadConfig(path string) (Config, error) {
	c := Defaults()
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return c, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		key, value, ok := strings.Cut(in.Text(), "=")
		key = strings.TrimSpace(key)
		if !ok || strings.HasPrefix(key, "#") || key != "max_size" && key != "max_backups" && key != "max_age_days" {
			continue
		}
		value, _, _ = strings.Cut(value, "#")
		v, err := strconv.ParseUint(strings.TrimSpace(value), 10, 62)
		if err != nil {
			return c, fmt.Errorf("%s:%d: %s is not a number: %w", path, n, key, err)
		}
		switch key {
		case "max_size":
			c.MaxSize = int64(v)
		case "max_backups":
			c.MaxBackups = int(min(v, 1000))
		case "max_age_days":
			c.MaxAge = time.Duration(min(v, 100_000)) * 24 * time.Hour
		}
	}
	return c, in.Err()
}
