import { describe } from "vitest"
import { transportSuite } from "./transportSuite.ts"

describe("worker protocol over WebSocket at a socket in the file system", () => transportSuite("unix"))
