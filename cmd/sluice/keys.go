package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"sluice/internal/httpx"
	"sluice/internal/seal"
)

type keysCmd struct {
	Create   keysCreateCmd   `cmd:"" help:"Make the root key of a new deployment. Every node needs the same one: copy it, and back it up."`
	Generate keysGenerateCmd `cmd:"" help:"Make an API key, and its hash for the configuration."`
	Hash     keysHashCmd     `cmd:"" help:"Read an API key from standard input and print its hash for the configuration."`
}

type keysGenerateCmd struct {
	Prefix string `help:"Begins the key, so that whoever finds it knows what it is." default:"sk_"`
}

// Run prints a key of 130 random bits and its hash.
func (c *keysGenerateCmd) Run(env *environment) error {
	key := c.Prefix + strings.ToLower(rand.Text())
	if wrong := httpx.Weakness(key); wrong != "" {
		return usage(fmt.Errorf("--prefix: the key %s", wrong))
	}
	fmt.Fprintf(env.stdout, "key:  %s\nhash: %s\n", key, httpx.HashKey(key))
	fmt.Fprintln(env.stderr, "Put the hash under keys.write, keys.server or keys.operator, and give the key to whoever calls: it is kept nowhere.")
	return nil
}

type keysHashCmd struct{}

// maxKey is more than any key has.
const maxKey = 4 << 10

// Run prints the hash of a key. The key is read, not named on the command line, which other users of the machine can see.
func (keysHashCmd) Run(env *environment) error {
	data, err := io.ReadAll(io.LimitReader(os.Stdin, maxKey))
	if err != nil {
		return fmt.Errorf("reading the key from standard input: %w", err)
	}
	key := strings.TrimRight(string(data), "\r\n")
	if wrong := httpx.Weakness(key); wrong != "" {
		return usage(fmt.Errorf("the key on standard input %s", wrong))
	}
	fmt.Fprintln(env.stdout, httpx.HashKey(key))
	return nil
}

type keysCreateCmd struct {
	File string `arg:"" help:"File to make; one that is there already is left alone." type:"path"`
}

// Run makes the key.
func (c *keysCreateCmd) Run(env *environment) error {
	err := seal.Create(c.File)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and was left alone: what is sealed under another key stays sealed", c.File)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "%s: a new root key. Put it on every node as server.root_key, and back it up: without it nothing that is kept can be read.\n", c.File)
	return nil
}
