package remoting

import "testing"

// BenchmarkCostProcess is a request to an actor of another process and its reply, beside the same bytes to a loop that sends
// them back.
func BenchmarkCostProcess(b *testing.B) {
	b.Run("bare_echo", BenchmarkBareEchoRoundTrip)
	b.Run("request_and_reply", BenchmarkRoundTripDispatcher)
}
