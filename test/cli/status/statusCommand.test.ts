/** `effect-milter status` where there is nothing to show. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type * as Net from "node:net"
import { complains, runAll } from "../../support/commandLine.ts"
import * as Listeners from "../../support/listeners.ts"
import picky from "../../support/modules/filter.ts"

/** A server of other pages. */
const otherPages = Effect.acquireRelease(
  Effect.callback<Http.Server>((resume) => {
    const server = Http.createServer((_, response) => response.end("<p>Hello</p>"))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
    })
)

// They listen on TCP.
const portOf = (server: Net.Server | Http.Server): number => (server.address() as Net.AddressInfo).port

describe("status", () => {
  it.live("says in a line whose address it needs", () =>
    Effect.gen(function*() {
      const filter = yield* Listeners.serveFilter(picky)
      const pages = `inet:${portOf(yield* otherPages)}`
      const closing = `inet:${
        portOf(yield* Listeners.bare({ host: "127.0.0.1", port: 0 }, (socket) => socket.destroy()))
      }`
      const nobody = "unix:/nonexistent/pages.sock"
      const [notAnAddress, absent, ...others] = yield* runAll(
        ["9464", nobody, filter, pages, closing].map((spec) => ["status", spec])
      )
      complains(notAnAddress!, /9464 is not an address: give that of serve --http$/m)
      complains(absent!, /there are no pages at unix:\/nonexistent\/pages\.sock: start serve with --http/)
      assert.lengthOf(others, 3)
      for (const other of others) {
        complains(other, /has no page \/status: give the address of serve --http, not of the filter$/m)
      }
    }).pipe(Effect.scoped))
})
