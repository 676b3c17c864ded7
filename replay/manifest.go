package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// living keeps, of the files below a folder, those that live: where a store of the warehouse has them, its manifest says which do. The others are what a
// crash or a merge left behind, and may hold what somebody has deleted since.
func living(files []string) ([]string, error) {
	stores := make(map[string]map[string]bool) // folder of a store → its living files; nil = no store
	var kept []string
	for _, file := range files {
		day := filepath.Dir(file)
		if !strings.HasPrefix(filepath.Base(day), "day=") {
			kept = append(kept, file)
			continue
		}
		table := filepath.Dir(day)
		dir := filepath.Dir(table)
		live, known := stores[dir]
		if !known {
			var err error
			if live, err = readManifest(filepath.Join(dir, "manifest")); err != nil {
				return nil, err
			}
			stores[dir] = live
		}
		if live == nil || live[filepath.Join(filepath.Base(table), filepath.Base(day), filepath.Base(file))] {
			kept = append(kept, file)
		}
	}
	return kept, nil
}

// readManifest reads which files live, as internal/warehouse/parquet writes it: changes, each on a line of its own behind its checksum. A last line without
// its end is not there yet. Where there is no manifest, the result is nil.
func readManifest(path string) (map[string]bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no manifest is no fault
	}
	if err != nil {
		return nil, fileError(path, "must be a readable manifest: "+reason(err))
	}
	live := make(map[string]bool)
	checksums := crc32.MakeTable(crc32.Castagnoli)
	for line := range bytes.Lines(data) {
		text, whole := bytes.CutSuffix(line, []byte{'\n'})
		if !whole {
			break
		}
		sum, change, _ := bytes.Cut(text, []byte{' '})
		var c struct {
			Add []struct {
				Table string `json:"table"`
				Day   string `json:"day"`
				Name  string `json:"name"`
			} `json:"add"`
			Drop []string `json:"drop"`
		}
		if want, err := strconv.ParseUint(string(sum), 16, 32); err != nil || uint32(want) != crc32.Checksum(change, checksums) || json.Unmarshal(change, &c) != nil {
			return nil, fileError(path, "must be an undamaged manifest of a warehouse")
		}
		for _, path := range c.Drop {
			delete(live, path)
		}
		for _, f := range c.Add {
			live[filepath.Join(f.Table, "day="+f.Day, f.Name)] = true
		}
	}
	return live, nil
}
