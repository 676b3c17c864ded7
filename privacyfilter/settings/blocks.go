package settings

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"sluice/ingest/eventpb"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/privacyfilter/consent"
)

// BlockList is what a person does not want to see, sorted.
type BlockList struct {
	Items      []string `json:"items"`
	Categories []string `json:"categories"`
	Revision   string   `json:"revision"`
}

func (s *service) getBlocks(ctx context.Context, _ *struct{}) (*answer[BlockList], error) {
	return read(s, subjectOf(ctx).person(), func(a *consent.Access) (*answer[BlockList], error) {
		b := a.Blocks()
		return private(BlockList{Items: sorted(b.Items), Categories: sorted(b.Categories), Revision: s.revisionText(ctx, a)}), nil
	})
}

func sorted(set map[string]struct{}) []string {
	return slices.AppendSeq(make([]string, 0, len(set)), slices.Values(slices.Sorted(maps.Keys(set))))
}

type blockInput struct {
	Origin
	Kind string `path:"kind" doc:"item or category"`
	ID   string `path:"id" doc:"Of the item, or the name of the category; 1 to 256 bytes."`
}

func (s *service) putBlock(ctx context.Context, in *blockInput) (*answer[Written], error) {
	block, problem := in.block()
	if problem != nil {
		return nil, problem
	}
	if err := s.hasRoom(subjectOf(ctx).person(), block); err != nil {
		return nil, err
	}
	return s.change(ctx, change{act: "block", restrict: restrictionBy(block), control: blockControl(in, block)})
}

func (s *service) deleteBlock(ctx context.Context, in *blockInput) (*answer[Written], error) {
	block, problem := in.block()
	if problem != nil {
		return nil, problem
	}
	block.Remove = true
	same := restrictionBy(block)
	return s.change(ctx, change{act: "unblock", control: blockControl(in, block), permit: &permission{
		told: in.Revision,
		opposite: func(r *restriction) bool {
			return r.BlockItem == same.BlockItem && r.BlockCategory == same.BlockCategory
		},
		holds: func(a *consent.Access) bool { return !blocked(a, block) },
	}})
}

// restrictionBy is the restriction that runs ahead of a block.
func restrictionBy(block *eventpb.Control_Block) *restriction {
	if block.Kind == eventpb.Control_Block_CATEGORY {
		return &restriction{BlockCategory: block.Id}
	}
	return &restriction{BlockItem: block.Id}
}

func blockControl(in *blockInput, block *eventpb.Control_Block) *eventpb.Control {
	return &eventpb.Control{Surface: surface(in.Surface), Act: &eventpb.Control_Block_{Block: block}}
}

func (in *blockInput) block() (*eventpb.Control_Block, error) {
	b := &eventpb.Control_Block{Id: canonical.Text(in.ID)}
	switch in.Kind {
	case "item":
		b.Kind = eventpb.Control_Block_ITEM
	case "category":
		b.Kind = eventpb.Control_Block_CATEGORY
	default:
		return nil, httpx.NewProblem(http.StatusNotFound, "unknown_kind", "The kind must be item or category.")
	}
	if !validID(in.ID) {
		return nil, invalid("invalid_id", "/id", "must be 1 to 256 bytes of UTF-8")
	}
	return b, nil
}

// hasRoom refuses a block that the row would not hold.
func (s *service) hasRoom(p consent.Person, block *eventpb.Control_Block) error {
	a, err := s.View.Lookup(p)
	if err != nil {
		return problemUnknown()
	}
	if held := blocksOf(a, block.Kind); !blocked(a, block) && len(held) >= s.MaxBlocks {
		return httpx.NewProblem(http.StatusUnprocessableEntity, "too_many_blocks", "A person must have at most "+strconv.Itoa(s.MaxBlocks)+" blocked items, and as many categories.")
	}
	return nil
}

// blocksOf are the person's blocks of a kind.
func blocksOf(a *consent.Access, kind eventpb.Control_Block_Kind) map[string]struct{} {
	if kind == eventpb.Control_Block_CATEGORY {
		return a.Blocks().Categories
	}
	return a.Blocks().Items
}

// blocked tells whether the person blocks the very thing.
func blocked(a *consent.Access, block *eventpb.Control_Block) bool {
	_, is := blocksOf(a, block.Kind)[block.Id]
	return is
}
