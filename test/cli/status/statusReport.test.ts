/** What `status` shows of a running server. */
import { assert, describe, it } from "@effect/vitest"
import { samplesOf } from "../../../src/cli/status/statusReport.ts"
import * as statusReport from "../../../src/cli/status/statusReport.ts"
import { plain } from "../../../src/cli/terminal/style.ts"

const metrics = `# HELP milter_messages_total Messages
# TYPE milter_messages_total counter
milter_messages_total{filter="a \\"b\\"",outcome="accepted"} 12
milter_messages_total{filter="c",outcome="accepted"} 1
milter_messages_total{filter="c",outcome="failed"} 0
milter_verdicts_total{filter="c",stage="rcpt",verdict="tempFail"} 3
milter_errors_total{filter="c",error="Defect"} 2
milter_hook_duration_seconds_bucket{filter="c",stage="rcpt",le="0.1"} 90
milter_hook_duration_seconds_bucket{filter="c",stage="rcpt",le="0.5"} 95
milter_hook_duration_seconds_bucket{filter="c",stage="rcpt",le="+Inf"} 100
milter_hook_duration_seconds_bucket{filter="c",stage="mail",le="0.1"} 0
milter_hook_duration_seconds_bucket{filter="c",stage="mail",le="+Inf"} 2
process_resident_memory_bytes{worker="1"} 170000000
process_cpu_seconds_total{worker="1"} 1.25
no sample
`

describe("samples", () => {
  it("are read with their labels", () => {
    const samples = samplesOf(metrics)
    assert.lengthOf(samples, 12)
    assert.deepStrictEqual(samples[0], {
      name: "milter_messages_total",
      labels: { filter: "a \"b\"", outcome: "accepted" },
      value: 12
    })
  })
})

describe("the report", () => {
  it("shows nothing of the other side that a terminal obeys", () => {
    const bad = "a\u001b[2J\u202e\nworker 9"
    const status: statusReport.Status = {
      version: bad,
      generation: 1,
      workers: [{
        worker: 1,
        leaves: false,
        servers: [{ filter: bad, addresses: [bad], state: bad, sessions: 1 }]
      }],
      failures: [{ time: bad, filter: bad, error: bad }]
    }
    const samples = [
      { name: "milter_messages_total", labels: { outcome: bad }, value: 1 },
      { name: "milter_verdicts_total", labels: { stage: bad, verdict: bad }, value: 1 },
      { name: "milter_errors_total", labels: { error: bad }, value: 1 },
      { name: "milter_hook_duration_seconds_bucket", labels: { stage: bad, le: "1" }, value: 1 }
    ]
    const text = statusReport.report(status, true, samples, plain)
    assert.notMatch(text, /[\u001b\u202e]|^worker 9/m)
    assert.lengthOf(text.trimEnd().split("\n"), 9)
  })

  it("names workers, messages, verdicts, slow hooks and errors", () => {
    const status: statusReport.Status = {
      version: "1.2.3",
      generation: 2,
      workers: [{
        worker: 1,
        pid: 17,
        version: "1.2.3",
        leaves: false,
        residentBytes: 170_000_000,
        cpuSeconds: 1.3,
        servers: [{ filter: "c", addresses: ["inet:9000@127.0.0.1"], state: "listening", sessions: 1 }]
      }, { worker: 2, version: "1.3.0\u202e", leaves: true, servers: [] }],
      failures: [
        {
          time: "2026-01-05T10:00:00.000Z",
          filter: "c",
          stage: "rcpt",
          queueId: "4YqTzX",
          error: "Error: no\u202edatabase"
        },
        { time: "2026-01-05T10:00:01.000Z", filter: "c + d", error: "IdleTimeout: no command" }
      ]
    }
    assert.strictEqual(
      statusReport.report(status, true, samplesOf(metrics), plain),
      `takes connections, generation 2, version 1.2.3
worker 1, pid 17: 170 MB, 1.3 s of CPU time
  c: listening on inet:9000@127.0.0.1, 1 session
worker 2, pid ?, version 1.3.0\\u{202E}, leaves
messages: accepted 13
verdicts: rcpt tempFail 3
slowest hooks, 95 % within: mail more than the last bound, rcpt 0.5 s
errors: Defect 2
last failures:
  2026-01-05T10:00:00.000Z 4YqTzX, c at rcpt: Error: no\\u{202E}database
  2026-01-05T10:00:01.000Z no queue id, c + d: IdleTimeout: no command
`
    )
    assert.include(statusReport.report(status, false, [], plain), "takes no connections")
    assert.strictEqual(
      statusReport.report({ generation: 1, workers: [] }, true, [], plain),
      "takes connections, generation 1\nmessages: none yet\n"
    )
  })
})
