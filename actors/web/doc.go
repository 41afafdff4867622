// Package web is a small page that shows the running tree in a browser. It only looks: there is nothing on it that changes
// anything, and it answers no method but GET and HEAD.
//
//	browser --GET /--> page, script, style (embedded; nothing comes from elsewhere)
//	        --GET /live--> server-sent events, a View each second       feed <--Look-- follow.Follower
//	        --GET /view--> one View, for browsers that get no events
//	        --GET /stack-> the stack of one fault
//
// What it shows, names of domains and reasons of crashes among it, may have been chosen by an enemy. The server sends it as
// JSON only, and the script puts it on the page as text only; the content security policy forbids everything else, string
// to markup conversion included. Requests must name a host that is ours, so that no foreign page can reach it by giving its
// own name our address; and a page of another site that asks is refused.
//
// Views are bounded: of a branch with thousands of objects those in trouble are sent, and as many others as the viewer
// asked for.
package web
