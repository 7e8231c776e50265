import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { forTest } from "./testbed/timeLimits.ts"

// `effect-milter/...` means the sources here, as in tsconfig's customConditions.
const conditions = ["effect-milter-source"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Some hundred Node processes are started; compiled code of the sources is kept between them, and halves their start.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node", import.meta.url)) },
    testTimeout: forTest,
    hookTimeout: forTest,
    fakeTimers: { toFake: [] },
    reporters: process.env["CI"] === undefined ? ["default"] : ["default", "json"],
    outputFile: { json: "test-results/vitest.json" },
    // Groups count from 1: with one worker (a machine of two cores) vitest runs the default group, 0, last.
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/integration/**", "test/differential/**", "test/interop/**", "test/fuzz/**"],
          // Files share a process and what they import, which else costs more than most of them: a test leaves nothing in it.
          isolate: false,
          sequence: { groupOrder: 1 }
        }
      },
      {
        // Real MTAs, filters and libmilter: one file at a time, after the unit tests, so that nothing competes with their timeouts.
        extends: true,
        test: {
          name: "integration",
          include: ["test/{integration,differential,interop,fuzz}/**/*.test.ts"],
          fileParallelism: false,
          sequence: { groupOrder: 2 }
        }
      }
    ]
  }
})
