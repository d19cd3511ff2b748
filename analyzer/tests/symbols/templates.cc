// Templates, operators, lambdas and namespaces.
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace shop {
template <typename Key, int Limit> class Cache {
  public:
    __attribute__((noinline)) void put(Key key, std::string value);

  private:
    std::map<Key, std::vector<std::string>> pages_;
};

template <typename Key, int Limit>
__attribute__((noinline)) void Cache<Key, Limit>::put(Key key, std::string value)
{
    pages_[key].push_back(value);
}

struct Price {
    long cents;
    __attribute__((noinline)) Price operator+(const Price &other) const
    {
        std::vector<long> sum(1, cents + other.cents);
        return Price{sum[0]};
    }
};
} // namespace shop

int main(int argc, char **)
{
    shop::Cache<long, 42> cache;
    auto fill = [&](int count) __attribute__((noinline)) {
        for (int i = 0; i < count; i++)
            cache.put(i, "page");
    };
    fill(argc);
    return static_cast<int>((shop::Price{1} + shop::Price{2}).cents) - 3;
}
