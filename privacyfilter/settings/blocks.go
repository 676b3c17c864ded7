package settings

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"sluice/ingest/eventpb"
	"sluice/internal/httpx"
	"sluice/privacyfilter"
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
		return private(BlockList{Items: sorted(b.Items), Categories: sorted(b.Categories), Revision: revisionText(a)}), nil
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
	ahead := &restriction{BlockItem: block.Id}
	if block.Kind == eventpb.Control_Block_CATEGORY {
		ahead = &restriction{BlockCategory: block.Id}
	}
	return s.change(ctx, change{act: "block", restrict: ahead, control: blockControl(in, block)})
}

func (s *service) deleteBlock(ctx context.Context, in *blockInput) (*answer[Written], error) {
	block, problem := in.block()
	if problem != nil {
		return nil, problem
	}
	block.Remove = true
	gone := func(a *consent.Access) bool {
		blocks := a.Blocks()
		blocked := blocks.Items
		if block.Kind == eventpb.Control_Block_CATEGORY {
			blocked = blocks.Categories
		}
		_, still := blocked[block.Id]
		return !still
	}
	return s.change(ctx, change{act: "unblock", holds: gone, control: blockControl(in, block)})
}

func blockControl(in *blockInput, block *eventpb.Control_Block) *eventpb.Control {
	return &eventpb.Control{Surface: surface(in.Surface), Act: &eventpb.Control_Block_{Block: block}}
}

func (in *blockInput) block() (*eventpb.Control_Block, error) {
	b := &eventpb.Control_Block{Id: in.ID}
	switch in.Kind {
	case "item":
		b.Kind = eventpb.Control_Block_ITEM
	case "category":
		b.Kind = eventpb.Control_Block_CATEGORY
	default:
		return nil, httpx.NewProblem(http.StatusNotFound, "unknown_kind", "item or category expected.")
	}
	if !validID(in.ID) {
		return nil, invalid("invalid_id", "/id", "1 to 256 bytes of UTF-8 expected.")
	}
	return b, nil
}

// hasRoom refuses a block that the row would not hold.
func (s *service) hasRoom(p consent.Person, block *eventpb.Control_Block) error {
	a, err := s.View.Lookup(p)
	if err != nil {
		return problemUnknown()
	}
	held := a.Blocks().Items
	if block.Kind == eventpb.Control_Block_CATEGORY {
		held = a.Blocks().Categories
	}
	if _, repeated := held[block.Id]; !repeated && len(held) >= privacyfilter.MaxBlocks {
		return httpx.NewProblem(http.StatusUnprocessableEntity, "too_many_blocks", "At most "+strconv.Itoa(privacyfilter.MaxBlocks)+" blocked items and as many categories a person expected.")
	}
	return nil
}
