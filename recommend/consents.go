package recommend

import (
	"crypto/sha256"
	"fmt"

	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// FromView makes Consents of the leased view.
func FromView(v *consent.View) Consents { return leased{v} }

type leased struct{ view *consent.View }

func (l leased) Lookup(p consent.Person) (Access, error) { return l.view.Lookup(p) }

func (l leased) Holds(a Access) bool {
	access, ok := a.(*consent.Access)
	return ok && l.view.Holds(access)
}

var (
	_ Consents = leased{}
	_ Access   = (*consent.Access)(nil)
)

// Reasons why a list is not personal, as answers name them.
const (
	becauseOptedOut  = "opted_out"
	becauseNoConsent = "no_consent"
	becauseNoSubject = "no_subject"
	becauseNoHistory = "no_history"
	becauseDegraded  = "degraded"
	becauseSurface   = "surface"
)

// becauses lists them in the order of the numbers that cursors carry; 0 = personal.
var becauses = []string{"", becauseOptedOut, becauseNoConsent, becauseNoSubject, becauseNoHistory, becauseDegraded, becauseSurface}

// visitor is who a request is about, as far as ranking may know.
type visitor struct {
	access     Access
	because    string // why no list may be personal; empty: it may be
	identities []consent.Identity
	blocks     *consent.Blocks
}

// lookup finds what holds for the person on the surface. The error is of Consents.Lookup.
func (s *service) lookup(p consent.Person, surface *Surface) (*visitor, error) {
	access, err := s.Consents.Lookup(p)
	if err != nil {
		return nil, fmt.Errorf("looking up consent: %w", err)
	}
	v := &visitor{access: access, blocks: access.Blocks()}
	if v.blocks == nil {
		v.blocks = new(consent.Blocks)
	}
	if v.because = whyNotPersonal(access, surface); v.because != "" {
		return v, nil
	}
	if v.identities = access.Identities(privacyfilter.Personalize); len(v.identities) == 0 {
		v.because = becauseNoHistory
	}
	return v, nil
}

func whyNotPersonal(access Access, surface *Surface) string {
	if len(surface.Personal) == 0 {
		return becauseSurface
	}
	if !access.Known() {
		return becauseNoSubject
	}
	decision := access.Effective(privacyfilter.Personalize)
	if decision.Allow {
		return ""
	}
	switch decision.Because {
	case privacyfilter.BecauseChoice, privacyfilter.BecauseGPC, privacyfilter.BecauseDevice, privacyfilter.BecauseAccount:
		return becauseOptedOut
	default: // the policy is not accepted, or the law's default is no
		return becauseNoConsent
	}
}

// stranger is the visitor with nothing but the blocks.
func (v *visitor) stranger(because string) *visitor {
	return &visitor{access: v.access, because: because, blocks: v.blocks}
}

// grant is a digest of the grants under which a list is personal. A withdrawal, also one that was taken back, another account or another device change it.
func (v *visitor) grant() (digest [16]byte) {
	if v.because != "" {
		return digest
	}
	hash := sha256.New()
	for _, id := range v.identities {
		hash.Write(id.Subject[:])
		hash.Write(id.Floor)
		hash.Write([]byte{0, byte(len(id.Floor))})
	}
	return [16]byte(hash.Sum(nil))
}
