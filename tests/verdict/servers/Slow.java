// SPDX-License-Identifier: MIT
// A threaded server of slow requests, each with one cause: /CAUSE. 'ms' of the query says how long.
// Usage: java Slow PORT PORT-THAT-NEVER-ANSWERS
import com.sun.net.httpserver.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.locks.*;

public class Slow {
	static final Object stock = new Object(), orders = new Object(), cart = new Object(), log = new Object();
	static final ReentrantLock ledger = new ReentrantLock();
	static final ConnectionPool pool = new ConnectionPool(2);
	static volatile Object kept;
	static volatile long sum;
	static int silent;

	interface Work {
		void run() throws Exception;
	}

	static Thread begin(String name, Work work) {
		Thread t = new Thread(() -> {
			try {
				work.run();
			} catch (Exception e) {
				e.printStackTrace();
			}
		}, name);
		t.setDaemon(true);
		t.start();
		return t;
	}

	static class ConnectionPool {
		private final BlockingQueue<String> idle = new LinkedBlockingQueue<>();

		ConnectionPool(int size) {
			for (int i = 0; i < size; i++)
				idle.add("connection " + i);
		}

		String getConnection() throws Exception {
			return idle.take();
		}

		void giveBack(String connection) {
			idle.add(connection);
		}
	}

	static void countTheStock(long ms, CountDownLatch begun) throws Exception {
		synchronized (stock) {
			begun.countDown();
			Thread.sleep(ms);
		}
	}

	static void java_monitor(long ms) throws Exception {
		CountDownLatch begun = new CountDownLatch(1);
		begin("stocktaker", () -> countTheStock(ms, begun));
		begun.await();
		sell();
	}

	static void sell() {
		synchronized (stock) {
			sum++;
		}
	}

	static void java_lock(long ms) throws Exception {
		CountDownLatch begun = new CountDownLatch(1);
		begin("bookkeeper", () -> {
			ledger.lock();
			begun.countDown();
			Thread.sleep(ms);
			ledger.unlock();
		});
		begun.await();
		ledger.lock();
		ledger.unlock();
	}

	static void both(Object first, Object second, CountDownLatch met) throws Exception {
		synchronized (first) {
			met.countDown();
			met.await();
			synchronized (second) {
				sum++;
			}
		}
	}

	static void java_deadlock(long ms) throws Exception {
		CountDownLatch met = new CountDownLatch(2);
		begin("other", () -> both(cart, orders, met));
		both(orders, cart, met);
	}

	static void logALine() throws Exception {
		synchronized (log) {
			Thread.sleep(20);
		}
	}

	static void java_convoy(long ms) throws Exception {
		CountDownLatch ends = new CountDownLatch(1);
		for (int i = 0; i < 16; i++)
			begin("logger " + i, () -> {
				while (ends.getCount() > 0)
					logALine();
			});
		Thread.sleep(1);
		for (long end = System.nanoTime() + ms * 1000000; System.nanoTime() < end;) {
			logALine();
			Thread.sleep(1);
		}
		ends.countDown();
	}

	static void java_pool(long ms) throws Exception {
		String one = pool.getConnection(), two = pool.getConnection();
		begin("slow query", () -> {
			Thread.sleep(ms);
			pool.giveBack(one);
			pool.giveBack(two);
		});
		pool.giveBack(pool.getConnection());
	}

	static void java_sleep(long ms) throws Exception {
		Thread.sleep(ms);
	}

	static void java_cpu(long ms) {
		for (long end = System.nanoTime() + ms * 1000000; System.nanoTime() < end;)
			for (int i = 0; i < 100000; i++)
				sum += sum * 31 + i;
	}

	/* Keeps nearly all of the heap alive, and makes garbage in what is left. */
	static void java_gc(long ms) {
		List<Object> alive = new ArrayList<>();
		long free = Runtime.getRuntime().maxMemory() / 100 * 76;
		for (long n = 0; n < free; n += 1040)
			alive.add(new byte[1024]);
		for (long end = System.nanoTime() + ms * 1000000; System.nanoTime() < end;)
			for (int i = 0; i < 1000; i++)
				kept = new byte[1024];
		sum += alive.size();
	}

	static void java_upstream(long ms) throws Exception {
		try (Socket s = new Socket("127.0.0.1", silent)) {
			s.getOutputStream().write("GET /price HTTP/1.0\r\n\r\n".getBytes());
			sum += s.getInputStream().read();
		}
	}

	static void java_future(long ms) throws Exception {
		CompletableFuture<String> f = new CompletableFuture<>();
		begin("answers", () -> {
			Thread.sleep(ms);
			f.complete("done");
		});
		f.get();
	}

	static void decoy_java_holder(long ms) throws Exception {
		synchronized (stock) {
			for (int i = 0; i < 6; i++)
				begin("wants stock", Slow::sell);
			Thread.sleep(ms);
		}
	}

	static void decoy_java_garbage(long ms) throws Exception {
		Thread other = begin("churns", () -> {
			for (long end = System.nanoTime() + ms * 1000000; System.nanoTime() < end;)
				kept = new byte[1024];
		});
		Thread.sleep(ms);
		other.join();
	}

	/* Both waits are in the same system call: which of them was long? */
	static void decoy_java_late(long ms) throws Exception {
		Thread.sleep(260);
		java_monitor(400);
	}

	static void decoy_java_two(long ms) throws Exception {
		java_monitor(260);
		Thread.sleep(400);
	}

	static void handle(HttpExchange x) {
		String name = x.getRequestURI().getPath().substring(1);
		String query = x.getRequestURI().getQuery();
		long ms = query != null && query.startsWith("ms=") ? Long.parseLong(query.substring(3)) : 700;
		int status = 200;
		try {
			Slow.class.getDeclaredMethod(name, long.class).invoke(null, ms);
		} catch (Exception e) {
			e.printStackTrace();
			status = 500;
		}
		try {
			x.sendResponseHeaders(status, -1);
		} catch (java.io.IOException e) { // who asked has gone
		}
		x.close();
	}

	public static void main(String[] args) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 50);
		silent = Integer.parseInt(args[1]);
		server.setExecutor(Executors.newCachedThreadPool());
		server.createContext("/", Slow::handle);
		server.start();
	}
}
