package privacyfilter

import "hash/fnv"

// BlockChunks is in how many records a person's blocks are kept: a new one is written with those that share its record, not with all that there are.
const BlockChunks = 64

// Blocks are some of what a person does not want to see, sorted.
type Blocks struct{ Items, Categories []string }

// ChunkOf is the chunk of the item or category with the id, below BlockChunks.
func ChunkOf(id string) byte {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id)) // never fails
	return byte(hash.Sum32() % BlockChunks)
}

// AppendBlocks writes blocks.
func AppendBlocks(b []byte, blocks Blocks) []byte {
	return appendTexts(appendTexts(b, blocks.Items), blocks.Categories)
}

// ParseBlocks reads what AppendBlocks wrote.
func ParseBlocks(data []byte) (blocks Blocks, err error) {
	r := &rowReader{data: data}
	blocks = Blocks{Items: r.texts(), Categories: r.texts()}
	if r.broken || len(r.data) > 0 {
		return Blocks{}, errRow
	}
	return blocks, nil
}

// BlockRecords are blocks with the newest record that blocked each, in the order of Blocks. The filter keeps them so.
type BlockRecords struct {
	Blocks
	ItemsAt, CategoriesAt []Revision
}

// AppendBlockRecords writes them.
func AppendBlockRecords(b []byte, records *BlockRecords) []byte {
	b = AppendBlocks(b, records.Blocks)
	for _, at := range [][]Revision{records.ItemsAt, records.CategoriesAt} {
		for _, revision := range at {
			b = appendRevision(b, revision.PB())
		}
	}
	return b
}

// ParseBlockRecords reads what AppendBlockRecords wrote.
func ParseBlockRecords(data []byte) (*BlockRecords, error) {
	r := &rowReader{data: data}
	records := &BlockRecords{Blocks: Blocks{Items: r.texts(), Categories: r.texts()}}
	records.ItemsAt, records.CategoriesAt = r.places(len(records.Items)), r.places(len(records.Categories))
	if r.broken || len(r.data) > 0 {
		return nil, errRow
	}
	return records, nil
}

func (r *rowReader) places(n int) []Revision {
	if n == 0 {
		return nil
	}
	all := make([]Revision, n)
	for i := range all {
		all[i] = r.revision()
	}
	return all
}
