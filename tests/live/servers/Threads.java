// SPDX-License-Identifier: MIT
// Threads at places that stay, and some that move all the time.
import java.util.concurrent.*;
import java.util.concurrent.locks.*;

public class Threads {
	static final Object door = new Object();
	static final Object bell = new Object();
	static final ReentrantLock lock = new ReentrantLock();
	static final ReentrantReadWriteLock book = new ReentrantReadWriteLock();
	static final Object left = new Object(), right = new Object();
	static final CountDownLatch all = new CountDownLatch(4), both = new CountDownLatch(2);
	static volatile long sum;

	static void keep() throws Exception {
		synchronized (door) {
			lock.lock();
			book.writeLock().lock();
			all.countDown();
			Thread.sleep(10000000);
		}
	}

	static void enter() {
		synchronized (door) {
			sum++;
		}
	}

	static void hear() throws Exception {
		synchronized (bell) {
			all.countDown();
			bell.wait();
		}
	}

	static void cross(Object first, Object second) throws Exception {
		synchronized (first) {
			both.countDown();
			both.await();
			all.countDown();
			synchronized (second) {
				sum++;
			}
		}
	}

	static long deep(int n) throws Exception {
		if (n == 0) {
			Thread.sleep(10000000);
			return 1;
		}
		return deep(n - 1) + 1;
	}

	static void spin() {
		while (true)
			sum += sum * 31 + 7;
	}

	static void move() throws Exception {
		while (true) {
			synchronized (bell) {
				sum++;
			}
			Thread.sleep(1);
		}
	}

	interface Body {
		void run() throws Exception;
	}

	static void begin(String name, Body body) {
		Thread t = new Thread(() -> {
			try {
				body.run();
			} catch (Exception e) {
				e.printStackTrace();
			}
		}, name);
		t.setDaemon(true);
		t.start();
	}

	public static void main(String[] args) throws Exception {
		begin("keeper", Threads::keep);
		begin("hears", Threads::hear);
		begin("left", () -> cross(left, right));
		begin("right", () -> cross(right, left));
		all.await();
		begin("enters", Threads::enter);
		begin("locks", lock::lock);
		begin("reads", () -> book.readLock().lock());
		begin("deep", () -> deep(40));
		begin("odd\n\"main\" #1 nid=0x1 x", () -> new Semaphore(0).acquire());
		begin("spins", Threads::spin);
		begin("moves", Threads::move);
		begin("moves too", Threads::move);
		System.out.println("ready");
		new CountDownLatch(1).await();
	}
}
