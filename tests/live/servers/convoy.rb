# SPDX-License-Identifier: MIT
# Threads that compute: one has the GVL, the others wait for it.
def compute
  n = 0
  loop do
    n += 1
    n = 0 if n > 1_000_000
  end
end

threads = Array.new(4) { Thread.new { compute } }
File.write(ARGV[0], "ready")
threads.each(&:join)
