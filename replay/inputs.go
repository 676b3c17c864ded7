package replay

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/replay/clickhouse"
)

// input is what is read as one: a table of ClickHouse, a file, or a day of the warehouse. A day has several files, and none is in the order of time.
type input struct {
	name   string // as errors show it
	files  []string
	opened *source // of standard input, which cannot be opened twice
}

// inputs are the files and tables that names stand for, in order: a folder for all Parquet files below it, a pattern such as day=2026-10-* for what it
// matches, each in the order of paths. What begins with a dot or an underscore is nobody's data. Files of the warehouse in one folder are one input.
func inputs(names []string) ([]input, error) {
	var all []input
	for _, name := range names {
		if strings.HasPrefix(name, clickhouse.Scheme) {
			all = append(all, input{name: name})
			continue
		}
		if name == standardInput {
			all = append(all, input{name: "standard input", files: []string{name}})
			continue
		}
		matches, err := matching(name)
		if err != nil {
			return nil, err
		}
		for _, match := range matches {
			files, err := filesIn(match)
			if err != nil {
				return nil, err
			}
			if all, err = appendFiles(all, files); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// appendFiles makes inputs of files. The first file of a folder says whether the folder is one of the warehouse's.
func appendFiles(all []input, files []string) ([]input, error) {
	for len(files) > 0 {
		folder, n := filepath.Dir(files[0]), 1
		for n < len(files) && filepath.Dir(files[n]) == folder {
			n++
		}
		if n > 1 {
			first, err := openFile(files[0], layout{}, new(atomic.Int64))
			if err != nil {
				return nil, err
			}
			if first.Close(); first.table != nil {
				all = append(all, input{name: folder, files: files[:n]})
				files = files[n:]
				continue
			}
		}
		for _, file := range files[:n] {
			all = append(all, input{name: file, files: []string{file}})
		}
		files = files[n:]
	}
	return all, nil
}

// matching are the paths that a name stands for. A path that is there is no pattern.
func matching(name string) ([]string, error) {
	if _, err := os.Stat(name); err == nil || !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil
	}
	matches, err := filepath.Glob(name)
	if err != nil {
		return nil, fileError(name, "must be a pattern such as day=2026-10-*")
	}
	if len(matches) == 0 {
		return nil, fileError(name, "must be a pattern that something matches")
	}
	return matches, nil
}

// filesIn are the Parquet files below a folder; any other path is a file.
func filesIn(path string) ([]string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		hidden := name != path && (entry != nil && strings.ContainsAny(entry.Name()[:1], "._"))
		switch {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return filepath.SkipDir
		case !hidden && !entry.IsDir() && filepath.Ext(name) == ".parquet":
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fileError(path, "must be a readable folder: "+reason(err))
	}
	slices.Sort(files)
	if files, err = living(files); err == nil && len(files) == 0 {
		err = fileError(path, "must be a folder with .parquet files")
	}
	return files, err
}
