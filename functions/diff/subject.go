package diff

import (
	"slices"
	"strings"
)

// subject names what has changed in the words of people: image of app for
// spec.template.spec.containers[app].image, server.port in app.yaml for what
// stands in a file of a ConfigMap. detail stands behind the innermost name.
func (n *note) subject(detail string) string {
	at := n.at
	if i := lastEmbedded(at); i >= 0 {
		file := note{at: at[:i]}
		if inner := at[i+1:]; len(inner) > 0 {
			return inner.String() + detail + " in " + file.subject("")
		}
		return file.subject(detail)
	}
	item := lastItem(at)
	name := fieldName(at[item+1:], item >= 0, n.inTemplate())
	if name != "" {
		name += detail
	}
	// The two innermost items say where.
	for i := 0; item >= 0 && i < 2; i++ {
		of := itemName(at[:item+1])
		if l, ok := at[item].(label); ok && i == 0 && n.op == opReplace && n.to == string(l) { // it is in the phrase
			of = itemName(append(slices.Clone(at[:item]), 0))
		}
		if name == "" {
			name = of + detail
		} else {
			name += " of " + strings.TrimPrefix(of, containerPrefix)
		}
		item = lastItem(at[:item])
	}
	return name
}

func lastEmbedded(at path) int {
	for i := len(at) - 1; i >= 0; i-- {
		if _, ok := at[i].(embedded); ok {
			return i
		}
	}
	return -1
}

// lastItem is where the last item of a list stands in a path, or -1.
func lastItem(at path) int {
	for i := len(at) - 1; i >= 0; i-- {
		switch at[i].(type) {
		case label, int:
			return i
		}
	}
	return -1
}

func (n *note) inTemplate() bool {
	return len(n.at) > 2 && slices.Contains(n.at[:len(n.at)-1], any("template"))
}

// containerPrefix goes where a container is named for what is in it.
const containerPrefix = "container "

// itemName is the singular of its list's name with what the item, the last
// element of the path, is known by.
func itemName(at path) string {
	list, item := "", at[len(at)-1]
	if above := at[:len(at)-1]; len(above) > 0 {
		list, _ = above[len(above)-1].(string)
	}
	word := singular(list)
	switch list {
	case "initContainers", "ephemeralContainers":
		word = "container"
	}
	switch e := item.(type) {
	case label:
		if word != "" {
			word += " "
		}
		return word + clipEnd(string(e), maxShown)
	default:
		if word == "" {
			return path{item}.String()
		}
		return word
	}
}

// singular is what people call one item of a list.
func singular(list string) string {
	switch {
	case strings.HasSuffix(list, "ies"):
		return strings.TrimSuffix(list, "ies") + "y"
	case strings.HasSuffix(list, "sses"):
		return strings.TrimSuffix(list, "es")
	case strings.HasSuffix(list, "ss"), list == "tls", strings.HasSuffix(list, "IPs") && len(list) < 4:
		return list
	}
	return strings.TrimSuffix(list, "s")
}

// frames are the keys around what people care for.
var frames = map[string]bool{"spec": true, "template": true, "metadata": true, "jobTemplate": true, "resources": true}

// fieldName is the rest of a path behind the last item, without what frames it.
func fieldName(keys path, inItem, inTemplate bool) string {
	for len(keys) > 1 {
		if key, ok := keys[0].(string); !ok || !frames[key] {
			break
		}
		keys = keys[1:]
	}
	if len(keys) == 0 || inItem && len(keys) == 1 && keys[0] == "value" {
		return ""
	}
	key, isKey := keys[len(keys)-1].(string)
	if len(keys) < 2 || !isKey {
		return keys.String()
	}
	bag, _ := keys[len(keys)-2].(string)
	word, ok := bags[bag]
	switch {
	case !ok, key == "":
		return keys.String()
	case strings.HasSuffix(word, " of"): // memory limit
		return key + " " + strings.TrimSuffix(word, " of")
	case inTemplate && (bag == "labels" || bag == "annotations"):
		word = "pod " + word
	}
	return strings.TrimPrefix(word+" "+key, " ")
}
