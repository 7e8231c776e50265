/** The lines for the configuration of MTAs that the program prints. */
import { assert, describe, it } from "@effect/vitest"
import * as postconf from "../../../src/cli/postfix/postconf.ts"
import * as serve from "../../../src/cli/serve/mtaLines.ts"

const mtaLines = (
  name: string,
  addresses: ReadonlyArray<string>,
  options: Parameters<typeof serve.mtaLines>[2],
  queueDirectory: string = postconf.defaultQueueDirectory
): string => serve.mtaLines(name, addresses, options, queueDirectory)

describe("the lines for MTAs", () => {
  it("name a TCP port in the spelling of each", () => {
    assert.strictEqual(
      mtaLines("not-from-us", ["inet:9000@127.0.0.1"], {}),
      `Postfix, in main.cf:
  smtpd_milters = inet:127.0.0.1:9000
  non_smtpd_milters = $smtpd_milters
  milter_default_action = tempfail
  milter_connect_timeout = 30s
  milter_command_timeout = 30s
  milter_content_timeout = 300s
Sendmail, in sendmail.mc:
  INPUT_MAIL_FILTER(\`not-from-us', \`S=inet:9000@127.0.0.1, F=T, T=C:30s;S:30s;R:30s;E:300s')
`
    )
  })

  it("take one of several addresses, and something to connect to for a wildcard", () => {
    const lines = mtaLines("our filter's", ["inet6:9000@[::]", "unix:/run/f.sock", "inet:9001@0.0.0.0"], {})
    assert.include(lines, "smtpd_milters = inet:[::1]:9000\n  (or unix:/run/f.sock, or inet:127.0.0.1:9001, not both)")
    assert.include(lines, "(`our-filter-s', `S=inet6:9000@::1, F=T")
    assert.include(lines, "  (or unix:/run/f.sock, or inet:9001@127.0.0.1, not both)\n")
  })

  it("have the MTA wait longer than the filter takes at most", () => {
    const lines = mtaLines("f", ["unix:/run/f.sock"], { commandTimeout: "1 minute", endOfMessageTimeout: "8 minutes" })
    assert.include(lines, "milter_command_timeout = 70s")
    assert.include(lines, "milter_content_timeout = 490s")
    assert.include(lines, "S=unix:/run/f.sock, F=T, T=C:30s;S:70s;R:70s;E:490s")
    assert.include(lines, "chroot")
  })

  it("have the path that smtpd sees in its chroot", () => {
    const socket = "unix:/var/spool/postfix/filter/f.sock"
    const lines = mtaLines("f", [socket], {})
    assert.include(lines, "smtpd_milters = unix:/filter/f.sock\n")
    assert.include(lines, `without a chroot: ${socket})`)
    // Sendmail has no chroot.
    assert.include(lines, `S=${socket}, F=T`)
    const elsewhere = mtaLines("f", ["unix:/run/f.sock"], {}, "/srv/queue")
    assert.include(elsewhere, "smtpd_milters = unix:/run/f.sock\n")
    assert.include(elsewhere, "does not see this path: put the socket below /srv/queue)")
    assert.include(mtaLines("f", ["unix:/srv/queue/f.sock"], {}, "/srv/queue"), "smtpd_milters = unix:/f.sock\n")
    // A directory whose name only begins so is another one.
    assert.include(mtaLines("f", ["unix:/srv/queue2/f.sock"], {}, "/srv/queue"), "= unix:/srv/queue2/f.sock\n")
  })

  it("are none for a socket without an address", () => {
    assert.strictEqual(mtaLines("f", ["fd:3"], {}), "")
  })
})
