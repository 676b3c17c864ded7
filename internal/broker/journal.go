package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"sluice/internal/stream"
)

// Journal is one engine's journal: a file that holds at most one transaction.
//
// Layout: length of the text (4 bytes, big endian) ‖ CRC-32C of the text ‖ the transaction as JSON. Length 0 means that there is none.
type Journal struct {
	file   *os.File
	broker *Broker
}

var _ stream.Journal = (*Journal)(nil)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxJournal bounds what is read: a transaction's spans over all partitions of all topics are far smaller.
const maxJournal = 16 << 20

// Journal opens the journal of the engine's transactions.
func (b *Broker) Journal(engine string) (*Journal, error) {
	if err := os.MkdirAll(b.journals(), 0o700); err != nil {
		return nil, fmt.Errorf("making the journals' directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(b.journals(), engine), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return &Journal{file: file, broker: b}, nil
}

func (b *Broker) journals() string { return filepath.Join(b.dir, "journals") }

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

// Enter waits for a compaction to end.
func (j *Journal) Enter() { j.broker.transactions.RLock() }

// Leave lets the next compaction begin.
func (j *Journal) Leave() { j.broker.transactions.RUnlock() }

// Begin writes the transaction, in one write: a process that dies leaves all of it or none.
func (j *Journal) Begin(t stream.Transaction) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	record := binary.BigEndian.AppendUint32(make([]byte, 0, 8+len(text)), uint32(len(text)))
	record = binary.BigEndian.AppendUint32(record, crc32.Checksum(text, castagnoli))
	_, err = j.file.WriteAt(append(record, text...), 0)
	return err
}

// End forgets the transaction.
func (j *Journal) End() error {
	_, err := j.file.WriteAt([]byte{0, 0, 0, 0}, 0)
	return err
}

// read is the transaction that the journal holds, nil if there is none, or if writing it was cut short: then its end was never asked for.
func (j *Journal) read() (*stream.Transaction, error) {
	head := make([]byte, 8)
	if _, err := j.file.ReadAt(head, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil //nolint:nilnil // an empty journal is no error
		}
		return nil, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxJournal {
		return nil, nil //nolint:nilnil // as above
	}
	text := make([]byte, length)
	if _, err := j.file.ReadAt(text, 8); err != nil || crc32.Checksum(text, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, nil //nolint:nilnil,nilerr // as above
	}
	t := new(stream.Transaction)
	if err := json.Unmarshal(text, t); err != nil {
		return nil, fmt.Errorf("reading a journal: %w", err)
	}
	return t, nil
}
