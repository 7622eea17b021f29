package slack

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/internal/templates"
)

const (
	maxChannelName = 80 // characters, as Slack has it
	channelPage    = 999
	channelPages   = 20
	relistAfter    = time.Minute
)

// isChannelID tells an id, of a channel, a conversation or a user, from a name,
// which has no capitals.
var isChannelID = regexp.MustCompile(`^[CDGUW][A-Z0-9]{7,20}$`)

// channelName is the channel for an event: an id, or a name with its #. That an
// event leads to none is an error which says what to do.
func channelName(t *templates.Template, d templates.Data) (string, error) {
	out, err := t.Text(d)
	if err != nil {
		return "", err
	}
	out = strings.TrimSpace(out)
	if isChannelID.MatchString(out) {
		return out, nil
	}
	name := strings.ToLower(strings.TrimPrefix(out, "#"))
	if name == "" {
		return "", fmt.Errorf("SLACK_CHANNEL gives no channel for %s: give it a default", d.Text("Subject"))
	}
	if utf8.RuneCountInString(name) > maxChannelName || strings.ContainsFunc(name, notInName) {
		return "", fmt.Errorf("SLACK_CHANNEL gives no name of a channel for %s: want letters, digits, - and _", d.Text("Subject"))
	}
	return "#" + name, nil
}

func notInName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-_.", r)
}

// channels knows the ids of channels by their names, which the history is asked
// for by. It is a cache: what it does not know it lists.
type channels struct {
	api    *slack.Client
	turn   chan struct{} // held by who reads or writes the rest
	ids    map[string]string
	cursor string // of the page to list next
	listed time.Time
}

func newChannels(api *slack.Client) *channels {
	c := &channels{api: api, turn: make(chan struct{}, 1), ids: map[string]string{}}
	c.turn <- struct{}{}
	return c
}

// id is the id of a channel, or "" for one that the token does not see.
func (c *channels) id(ctx context.Context, channel string) (string, error) {
	if isChannelID.MatchString(channel) {
		return channel, nil
	}
	select {
	case <-c.turn:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	if id := c.ids[channel]; id != "" || time.Since(c.listed) < relistAfter {
		return id, nil
	}
	err := c.list(ctx, "public_channel", "private_channel")
	if hasWord(err, "missing_scope") { // groups:read is for private ones alone
		err = c.list(ctx, "public_channel")
	}
	if err != nil {
		return "", err
	}
	c.listed = time.Now()
	return c.ids[channel], nil
}

// list reads the names of all channels, from where an attempt that ended early
// stopped. What lies behind the last page is posted to by its name, and known
// from then on.
func (c *channels) list(ctx context.Context, types ...string) error {
	for range channelPages {
		found, next, err := c.api.GetConversationsContext(ctx, &slack.GetConversationsParameters{
			Cursor: c.cursor, ExcludeArchived: true, Limit: channelPage, Types: types,
		})
		if err != nil {
			if ctx.Err() == nil {
				c.cursor = "" // it may be the cursor that Slack does not like
			}
			return err
		}
		for _, f := range found {
			c.ids["#"+f.Name] = f.ID
		}
		if c.cursor = next; next == "" {
			return nil
		}
	}
	c.cursor = ""
	return nil
}

// learn keeps the id that Slack answered for a channel.
func (c *channels) learn(channel, id string) {
	if !isChannelID.MatchString(id) || isChannelID.MatchString(channel) {
		return
	}
	<-c.turn
	c.ids[channel] = id
	c.turn <- struct{}{}
}
