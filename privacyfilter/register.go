// Package privacyfilter decides which use may have which part of an event. It holds the register of purposes and fields, and the pure decisions about a
// person's consent. Its sub-packages keep the ledger and project events (filter), serve the consent view (consent) and the settings (settings).
package privacyfilter

import (
	"slices"
	"strings"
	"time"

	"sluice/internal/spell"
	"sluice/internal/vocab"
)

// Purposes that have a stream of their own.
const (
	History     = "history"     // basic: footprints, search history, recently viewed
	Trending    = "trending"    // basic: aggregate lists
	Risk        = "risk"        // legal: fraud control
	Personalize = "personalize" // switchable: recommendations
)

// Tier says what must hold before a purpose may use an event.
type Tier uint8

// The tiers, from what needs least to what needs most, and the one that no choice touches.
const (
	Basic      Tier = iota + 1 // accepting the policy is enough
	Switchable                 // on or off by the jurisdiction's default, until the person chooses
	Additional                 // needs the person's own separate consent
	Legal                      // a legal duty: needs nothing
)

var tierNames = map[Tier]string{Basic: "basic", Switchable: "switchable", Additional: "additional", Legal: "legal"}

// String is the tier's name in YAML and JSON.
func (t Tier) String() string { return tierNames[t] }

// Optional tells whether people may choose for or against a purpose of this tier.
func (t Tier) Optional() bool { return t == Switchable || t == Additional }

// MaxBlocks is how many items, and how many categories, one subject may block. The settings refuse more; the filter ignores more.
const MaxBlocks = 1000

// Purpose is one use of personal data.
type Purpose struct {
	Name       string
	Doc        string
	Clause     string // of the policy version in force
	Retention  string // retention class
	Tier       Tier
	LegalBasis map[string]string // by jurisdiction
	Default    map[string]bool   // by jurisdiction; any other: deny
	Index      int               // place in Register.Purposes, and bit

	types typeSet // taken at all
	after typeSet // of them, only after the policy was accepted
}

// Takes tells whether the purpose lists the event type.
func (p *Purpose) Takes(t vocab.Type) bool { return p.types.has(t) }

// AfterAcceptance tells whether a legal purpose takes the type only from people who have accepted the policy.
func (p *Purpose) AfterAcceptance(t vocab.Type) bool { return p.after.has(t) }

// typeSet is a set of event types: bit n for the type with the number n.
type typeSet uint64

func (s typeSet) has(t vocab.Type) bool { return t > 0 && t < 64 && s&(1<<uint(t)) != 0 }

// purposeSet is a set of purposes: bit n for the purpose with the index n.
type purposeSet uint64

const maxPurposes = 64

func (s purposeSet) has(index int) bool { return s&(1<<uint(index)) != 0 }

// Field is one registered field of an event.
type Field struct {
	Name         string // path in the event: device.mac
	Category     string // Fides taxonomy
	Clause       string
	CollectedFor []string // purposes, in the register's order; empty: only the filter itself reads it

	purposes purposeSet
}

// Class is one retention class.
type Class struct {
	Name      string
	Period    time.Duration
	Criterion string // why this long; one of the policy's grounds
	Clause    string
}

// Register says which purposes there are, what they need, and which fields are collected for which of them. It is immutable.
// What it does not name is denied.
type Register struct {
	jurisdiction string
	versions     []string     // of the policy, the one in force first
	superseded   []purposeSet // by version: purposes for which a newer version is a major change
	purposes     []*Purpose
	byName       map[string]*Purpose
	fields       []*Field
	byField      map[string]*Field
	classes      []*Class
	byClass      map[string]*Class
	digest       string
}

// PolicyVersion is the policy version in force.
func (r *Register) PolicyVersion() string { return r.versions[0] }

// PolicyVersions lists the versions that a person can have accepted, the one in force first.
func (r *Register) PolicyVersions() []string { return slices.Clone(r.versions) }

// PolicyAge is how many versions are newer than this one, -1 for a version that the register does not know.
func (r *Register) PolicyAge(version string) int { return slices.Index(r.versions, version) }

// DefaultJurisdiction is the deployment's jurisdiction: it holds where a person's own is not recorded.
func (r *Register) DefaultJurisdiction() string { return r.jurisdiction }

// Jurisdictions are those that some purpose has a basis or a default for, and the deployment's own.
func (r *Register) Jurisdictions() map[string]bool {
	known := map[string]bool{r.jurisdiction: true}
	for _, p := range r.purposes {
		for name := range p.LegalBasis {
			known[name] = true
		}
		for name := range p.Default {
			known[name] = true
		}
	}
	return known
}

// NoWider tells whether every purpose may do at most what it may in another jurisdiction, with the data of people who have chosen nothing.
func (r *Register) NoWider(jurisdiction, than string) bool {
	return jurisdiction == than || !slices.ContainsFunc(r.purposes, func(p *Purpose) bool {
		return p.Tier.Optional() && p.Default[jurisdiction] && !p.Default[than]
	})
}

// Purposes lists the purposes in the file's order. It must not be changed.
func (r *Register) Purposes() []*Purpose { return r.purposes }

// Purpose finds a purpose by name.
func (r *Register) Purpose(name string) (*Purpose, bool) {
	p, ok := r.byName[name]
	return p, ok
}

// Holds tells whether the field is registered and collected for the purpose.
func (r *Register) Holds(purpose, field string) bool {
	p, f := r.byName[purpose], r.byField[field]
	return p != nil && f != nil && f.purposes.has(p.Index)
}

// Retention is the period of a retention class, 0 for one that the register does not name.
func (r *Register) Retention(class string) time.Duration {
	if c := r.byClass[class]; c != nil {
		return c.Period
	}
	return 0
}

// everything are words that deny all that can be denied.
var everything = []string{"*", "all", "any", "everything"}

// misspelt is how many letters a word may differ from the purpose that it may mean.
const misspelt = 2

// Denied reads a word of a denial as strictly as it may be meant. exact: it is a purpose, as it is written. In other letters it is that purpose, too. Any other word
// denies all that people can choose, and what is spelled nearly like it; "*" and its like deny everything but legal duties.
func (r *Register) Denied(word string) (purposes []string, exact bool) {
	if _, ok := r.byName[word]; ok {
		return []string{word}, true
	}
	folded := strings.ToLower(strings.TrimSpace(word))
	if _, ok := r.byName[folded]; ok {
		return []string{folded}, false
	}
	whole := slices.Contains(everything, folded)
	for _, p := range r.purposes {
		if p.Tier != Legal && (whole || p.Tier.Optional() || spell.Distance(folded, p.Name) <= misspelt) {
			purposes = append(purposes, p.Name)
		}
	}
	return purposes, false
}

// Digest identifies the register's content ("sha256:…"): equal registers have equal digests, whatever their layout and comments.
func (r *Register) Digest() string { return r.digest }
