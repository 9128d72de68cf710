import { describe } from "vitest"
import { transportSuite } from "./transportSuite.ts"

describe("worker protocol over gRPC at a socket in the file system", () => transportSuite("grpc+unix"))
