// Holds every kernel target that this processor can run to the reference target, without Python:
// each slot on awkward sizes, then whole forward passes. Needed where no Python is at hand (a cross
// build under an emulator).
//
//     conformance [TARGET ...]    without arguments all targets that can run here but the reference
//
// Exit status 1 when something differs, 2 when a named target cannot run here.
#include "check.h"

using namespace understudy;

int main(int count, char** names) {
  int num_targets;
  const Kernels* const* available = available_kernels(&num_targets);
  std::vector<const Kernels*> targets;
  if (count == 1) targets.assign(available + 1, available + num_targets);
  for (int i = 1; i < count; ++i) {
    const Kernels* target = find_kernels(names[i]);
    if (target == nullptr) {
      std::fprintf(stderr, "no kernel target named %s on this processor\n", names[i]);
      return 2;
    }
    targets.push_back(target);
  }
  test::check_pool();
  for (const Kernels* target : targets) {
    const int64_t before = test::Check::total_failures();
    test::check_slots(*target);
    test::check_forward(*target);
    std::printf("%s: %s\n", target->name,
                test::Check::total_failures() == before ? "as the reference" : "DIFFERS");
  }
  std::printf("%lld comparisons, %lld failures\n",
              static_cast<long long>(test::Check::total_comparisons()),
              static_cast<long long>(test::Check::total_failures()));
  return test::Check::total_failures() == 0 ? 0 : 1;
}
