/** `npm run demo -- --postfix`: what the README shows with a real mail server. */
import { assert, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import { describePostfix } from "../../testbed/postfix.ts"

describePostfix("the demo with Postfix", () => {
  it("takes three messages through a filter", () => {
    const { status, stderr, stdout } = ChildProcess.spawnSync(
      process.execPath,
      ["-C", "effect-milter-source", "examples/demo/demo.ts", "--postfix"],
      { cwd: new URL("../../", import.meta.url), encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } }
    )
    assert.strictEqual(status, 0, stderr)
    assert.match(stdout, /^ *\+ X-Checked: not from us$/m)
    assert.match(stdout, /^ {2}MAIL FROM:<mallory@example.com> +550 5\.7\.1 not allowed here!$/m)
    assert.match(stdout, /^ {2}RCPT TO:<busy@test.example> +451 4\.2\.1 on holiday$/m)
  })
})
